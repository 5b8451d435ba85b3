// gemm_bench [isa] [threads]: multiply-adds a second of linear layers, beside the machine's peak.
#include "gemm/bench_case.h"

using namespace fxquant;

namespace {

struct Shape {
  int64_t m, n, k;
  bool residual, floats = false;
};

constexpr Shape kShapes[] = {
    {196, 256, 1024, false},       {196, 1024, 256, false}, {196, 1024, 256, true}, {784, 512, 128, false},
    {784, 512, 128, true},         {3136, 64, 64, false},   {3136, 256, 64, false}, {3136, 256, 64, true},
    {49, 512, 2048, false},        {49, 2048, 512, true},   {12544, 96, 16, false}, {3136, 24, 144, false},
    {784, 32, 192, false},         {49, 1280, 320, false},  {197, 768, 768, false}, {197, 3072, 768, false},
    {3136, 144, 24, false},        {784, 192, 32, false},   {12544, 16, 32, false}, {196, 576, 96, false},
    {1, 1000, 2048, false},        {1, 1000, 1280, false},  {1, 480, 20, false},    {1, 1000, 1280, false, true},
    {196, 256, 1024, false, true},
};

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
    layer.gives_floats = s.floats;
    const BenchLayer bench(layer, isa);
    const auto x = random_bytes(s.m * s.k), r = random_bytes(s.m * s.n);
    const int64_t y_stride = s.n * bench.header().output_size();
    std::vector<uint8_t> y(static_cast<size_t>(s.m * y_stride));
    const double seconds = best_seconds(0.15, [&] {
      linear(bench.header(), x.data(), s.m, s.k, s.residual ? r.data() : nullptr, s.n, y.data(), y_stride, threads);
    });
    std::printf("M=%-6ld N=%-5ld K=%-5ld %-9s", s.m, s.n, s.k, s.residual ? "residual" : s.floats ? "floats" : "");
    print_rate(static_cast<double>(s.m * s.n * s.k), seconds, peak_multiply_adds(isa, threads));
  }
}
