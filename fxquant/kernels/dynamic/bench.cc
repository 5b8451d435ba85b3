// dynamic_bench [isa] [threads]: linear of floats, quantization included: multiply-adds a second beside the machine's
// peak and, for one row, bytes of weights a second beside those of a sum over as much memory.
#include "base/bench.h"

#include "dynamic/dynamic.h"
#include "gemm/bench_case.h"

using namespace fxquant;

namespace {

struct Shape {
  int64_t m, n, k;
};

constexpr Shape kShapes[] = {
    {1, 4096, 1024},  {1, 1024, 4096},  {128, 4096, 1024}, {128, 384, 384}, {128, 1536, 384}, {128, 384, 1536},
    {16, 384, 384},   {512, 1536, 384}, {1, 64, 64},       {1, 768, 768},   {4, 4096, 1024},  {128, 768, 768},
    {128, 3072, 768}, {1, 16384, 4096}, {1, 384, 384},     {2, 4096, 1024}, {8, 4096, 1024},
};

}  // namespace

int main(int argc, char** argv) {
  const Isa isa = bench_isa(argc, argv);
  const int threads = bench_threads(argc, argv);
  const double peak = peak_multiply_adds(isa, threads);
  print_peak(isa, peak);
  for (const Shape& s : kShapes) {
    LayerWeights layer;
    layer.layer = Layer::dynamic_linear;
    layer.in_channels = s.k;
    layer.out_channels = s.n;
    layer.gives_floats = true;
    const BenchLayer bench(layer, isa);
    std::vector<float> x(static_cast<size_t>(s.m * s.k)), y(static_cast<size_t>(s.m * s.n));
    for (auto& v : x) v = static_cast<float>(std::rand() % 1000 - 300) * 0.01F;
    const Aligned scratch(static_cast<size_t>(dynamic_scratch(s.m, s.k)), 0);
    const DynamicLinear p{&bench.header(), s.m, s.k, s.n, true, {}, {}};
    const double seconds = best_seconds(0.15, [&] { dynamic_linear(p, y.data(), x.data(), scratch.get(), threads); });
    std::printf("M=%-5ld N=%-5ld K=%-5ld", s.m, s.n, s.k);
    print_rate(static_cast<double>(s.m * s.n * s.k), seconds, peak);
    if (s.m == 1) print_read_rate(s.n * s.k, seconds);
  }
}
