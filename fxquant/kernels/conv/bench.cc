// conv_bench [isa] [threads]: multiply-adds a second of convolutions, beside the machine's peak.
#include "conv/conv.h"
#include "gemm/bench_case.h"

using namespace fxquant;

namespace {

struct Shape {
  const char* name;
  int64_t c, size, o, kernel, stride, groups;
};

constexpr Shape kShapes[] = {
    {"3x3", 64, 56, 64, 3, 1, 1},         {"3x3", 128, 28, 128, 3, 1, 1},        {"3x3", 256, 14, 256, 3, 1, 1},
    {"3x3", 512, 7, 512, 3, 1, 1},        {"3x3 s2", 128, 56, 128, 3, 2, 1},     {"3x3", 32, 56, 32, 3, 1, 1},
    {"1x1 s2", 256, 56, 512, 1, 2, 1},    {"1x1", 64, 56, 64, 1, 1, 1},          {"1x1", 64, 56, 256, 1, 1, 1},
    {"7x7 s2 stem", 3, 224, 64, 7, 2, 1}, {"3x3 s2 stem", 3, 224, 32, 3, 2, 1},  {"3x3 32x4", 128, 56, 128, 3, 1, 32},
    {"3x3 32x8", 256, 28, 256, 3, 1, 32}, {"3x3 32x16", 512, 14, 512, 3, 1, 32}, {"1x1 g3", 240, 28, 60, 1, 1, 3},
    {"1x1 g8", 384, 28, 96, 1, 1, 8},
};

}  // namespace

int main(int argc, char** argv) {
  const Isa isa = bench_isa(argc, argv);
  const int threads = bench_threads(argc, argv);
  print_peak(isa, peak_multiply_adds(isa, threads));
  for (const Shape& s : kShapes) {
    LayerWeights layer;
    layer.layer = Layer::conv;
    layer.in_channels = s.c;
    layer.out_channels = s.o;
    layer.kernel_h = layer.kernel_w = s.kernel;
    layer.groups = s.groups;
    const BenchLayer bench(layer, isa);
    Conv conv;
    conv.packed = &bench.header();
    const int64_t pad = s.kernel / 2;
    conv.geometry = {s.o, s.kernel, s.kernel, s.stride, s.stride, pad, pad, pad, pad, 1, 1, s.groups};
    const int64_t out = conv.geometry.output_h(s.size);
    const auto x = random_bytes(s.size * s.size * s.c);
    std::vector<uint8_t> y(static_cast<size_t>(out * out * s.o));
    conv.x = {x.data(), 1, s.size, s.size, s.c, s.size * s.size * s.c, s.size * s.c, s.c};
    conv.y = {y.data(), 1, out, out, s.o, out * out * s.o, out * s.o, s.o};
    std::vector<uint8_t> scratch(static_cast<size_t>(conv_scratch_size(conv, threads)));
    conv.scratch = scratch.data();
    conv.scratch_size = static_cast<int64_t>(scratch.size());
    const double seconds = best_seconds(0.15, [&] { run_conv(conv, threads); });
    std::printf("%-12s C=%-4ld %3ld x %-3ld O=%-4ld", s.name, s.c, s.size, s.size, s.o);
    print_rate(static_cast<double>(out * out * s.o * s.c / s.groups * s.kernel * s.kernel), seconds,
               peak_multiply_adds(isa, threads));
  }
}
