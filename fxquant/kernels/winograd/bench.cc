// winograd_bench [isa] [threads]: multiply-adds a second of 3x3 convolutions, as if each were computed, beside the
// machine's peak and conv/conv.h.
#include <algorithm>

#include "conv/conv.h"
#include "gemm/bench_case.h"
#include "winograd/winograd.h"

using namespace fxquant;

namespace {

struct Shape {
  int64_t n, c, size, o;
};

constexpr Shape kShapes[] = {
    {1, 64, 112, 64}, {1, 64, 56, 64},    {1, 128, 28, 128},  {1, 256, 14, 256}, {1, 512, 7, 512},
    {16, 64, 56, 64}, {16, 128, 28, 128}, {16, 256, 14, 256}, {16, 512, 7, 512}, {1, 32, 56, 32},
    {1, 128, 56, 32}, {1, 128, 28, 32},   {1, 128, 14, 32},   {1, 128, 7, 32},   {1, 16, 56, 64},
    {1, 64, 13, 256}, {1, 64, 35, 96},    {1, 96, 35, 96},    {1, 256, 7, 256},  {1, 384, 8, 384},
};

struct Images {
  std::vector<uint8_t> bytes;
  Nhwc<uint8_t> view;
  Images(int64_t n, int64_t size, int64_t c)
      : bytes(random_bytes(n * size * size * c)), view{bytes.data(), n, size, size, c, size * size * c, size * c, c} {}
};

}  // namespace

int main(int argc, char** argv) {
  const Isa isa = bench_isa(argc, argv);
  const int threads = bench_threads(argc, argv);
  const double peak = peak_multiply_adds(isa, threads);
  print_peak(isa, peak);
  for (const Shape& s : kShapes) {
    LayerWeights layer;
    layer.layer = Layer::conv;
    layer.in_channels = s.c;
    layer.out_channels = s.o;
    layer.kernel_h = layer.kernel_w = 3;
    const BenchLayer bench(layer, isa);
    Images x(s.n, s.size, s.c), y(s.n, s.size, s.o);
    const double macs = static_cast<double>(s.n * s.size * s.size * s.c * s.o * 9);
    Conv conv;
    conv.packed = &bench.header();
    conv.geometry = {s.o, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    conv.x = {x.view.data, s.n, s.size, s.size, s.c, x.view.stride_n, x.view.stride_h, x.view.stride_w};
    conv.y = y.view;
    std::vector<uint8_t> scratch(
        static_cast<size_t>(std::max(winograd_scratch_size(conv, threads), direct_scratch_size(conv))));
    conv.scratch = scratch.data();
    const double direct = best_seconds(0.1, [&] { run_direct(conv, threads); });
    const double seconds = best_seconds(0.1, [&] { run_winograd(conv, threads); });
    std::printf("%2ld x %3ld x %-3ld C=%-4ld O=%-4ld %5.2fx %s", s.n, s.size, s.size, s.c, s.o, direct / seconds,
                winograd_pays(conv, threads) ? "chosen" : "      ");
    print_rate(macs, seconds, peak);
  }
}
