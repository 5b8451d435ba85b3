// weight_only_bench [isa] [threads]: multiply-adds a second, and for one row bytes of weights a second beside those of
// a sum over as much memory.
#include "base/bench.h"

#include "gemm/bench_case.h"
#include "weight_only/weight_only.h"

using namespace fxquant;

namespace {

struct Shape {
  int64_t m, n, k, group;
};

constexpr Shape kShapes[] = {
    {1, 4096, 1024, 1024},  {1, 1024, 4096, 4096},  {1, 4096, 1024, 32},     {1, 4096, 1024, 128},
    {1, 64, 64, 64},        {2, 4096, 1024, 1024},  {4, 4096, 1024, 1024},   {8, 4096, 1024, 1024},
    {16, 4096, 1024, 1024}, {32, 4096, 1024, 1024}, {128, 4096, 1024, 1024}, {128, 1024, 4096, 4096},
    {512, 768, 768, 768},   {1, 16384, 4096, 4096}, {128, 4096, 1024, 32},
};

}  // namespace

int main(int argc, char** argv) {
  const Isa isa = bench_isa(argc, argv);
  const int threads = bench_threads(argc, argv);
  std::printf("%s, %d threads; in multiply-adds\n", isa_name(isa), threads);
  for (const Shape& s : kShapes) {
    std::vector<int8_t> weight(static_cast<size_t>(s.n * s.k));
    for (auto& w : weight) w = static_cast<int8_t>(std::rand());
    const std::vector<float> scale(static_cast<size_t>(s.n * (s.k / s.group)), 1e-3F);
    const std::vector<float> bias(static_cast<size_t>(s.n), 0.5F), x(static_cast<size_t>(s.m * s.k), 0.25F);
    std::vector<float> y(static_cast<size_t>(s.m * s.n));
    const WeightOnlyWeights w = {s.k, s.n, s.group, weight.data(), scale.data(), bias.data(), {}};
    const int64_t size = weight_only_size(w, isa);
    const Aligned packed(static_cast<size_t>(size), 0);
    pack_weight_only(w, isa, packed.get());
    const WeightOnlyLinear p = {&weight_only_header(packed.get(), size, isa), s.m, s.k, s.n};
    const double seconds = best_seconds(0.15, [&] { weight_only_linear(p, y.data(), x.data(), threads); });
    std::printf("M=%-5ld N=%-5ld K=%-5ld group %-5ld %9.1f us %7.1f G/s\n", s.m, s.n, s.k, s.group, seconds * 1e6,
                static_cast<double>(s.m * s.n * s.k) / seconds * 1e-9);
    if (s.m == 1) print_read_rate(s.n * s.k, seconds);
  }
}
