// gemm_bench [isa] [threads]: multiply-adds a second of linear layers, beside the machine's peak.
#include "gemm/bench_case.h"

using namespace fxquant;

namespace {

struct Shape {
  int64_t m, n, k;
  bool residual;
};

constexpr Shape kShapes[] = {{1568, 96, 16, false}, {1568, 96, 24, false}, {1568, 96, 32, false}, {1568, 96, 64, false}, {1568, 96, 128, false}, {1568, 96, 256, false}, {1568, 96, 512, false}, {1568, 96, 1024, false}, {1568, 96, 16, true}, {1568, 96, 32, true}, {1568, 96, 64, true}, {1568, 96, 128, true}, {1568, 96, 256, true}, {1568, 16, 32, false},{1568, 24, 32, false},{1568, 24, 32, true}, {1568, 32, 32, false},{1568, 64, 32, false}, {1568, 16, 144, false},{1568, 24, 144, false},{1568, 24, 144, true}, {1568, 32, 144, false},{1568, 64, 144, false}};

}  // namespace

int main(int argc, char** argv) {
  const Isa isa = bench_isa(argc, argv);
  const int threads = bench_threads(argc, argv);
  print_peak(isa, peak_multiply_adds(isa, threads));
  for (const Shape& s : kShapes) {
    LayerWeights layer;
    layer.in_channels = s.k;
    layer.out_channels = s.n;
    layer.has_residual = s.residual;
    layer.residual = {10, 0.5F};
    const BenchLayer bench(layer, isa);
    const auto x = random_bytes(s.m * s.k), r = random_bytes(s.m * s.n);
    std::vector<uint8_t> y(r.size());
    const double seconds = best_seconds(0.15, [&] {
      linear(bench.header(), x.data(), s.m, s.k, s.residual ? r.data() : nullptr, s.n, y.data(), s.n, threads);
    });
    std::printf("M=%-6ld N=%-5ld K=%-5ld %-9s", s.m, s.n, s.k, s.residual ? "residual" : "");
    std::printf("%.2f cyc/64 ", seconds*4.27e9/(s.m*s.n/64)); print_rate(static_cast<double>(s.m * s.n * s.k), seconds, peak_multiply_adds(isa, threads));
  }
}
