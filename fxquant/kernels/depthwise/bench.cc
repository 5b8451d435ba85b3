// Depthwise layers of MobileNetV2 and EfficientNet-Lite0, one thread: time, G MAC/s, cycles for 16 outputs, next to the
// bandwidth of a plain copy of as many bytes in this process.
#include "base/bench.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "depthwise/depthwise.h"

using namespace fxquant;

namespace {

struct Layer {
  int64_t size, channels;
  int32_t kernel, stride, dilation;
};

constexpr Layer kLayers[] = {
    {112, 32, 3, 1, 1}, {112, 96, 3, 2, 1}, {56, 144, 3, 1, 1}, {56, 144, 3, 2, 1},
    {28, 192, 3, 1, 1}, {14, 384, 3, 1, 1}, {14, 576, 3, 2, 1}, {7, 960, 3, 1, 1},
    {56, 144, 5, 2, 1}, {28, 240, 5, 1, 1}, {14, 480, 5, 1, 1}, {14, 672, 5, 2, 1},
    {7, 1152, 5, 1, 1}, {56, 24, 3, 1, 1},  {14, 384, 7, 1, 1}, {14, 384, 3, 1, 2},
};

void bench(const Layer& l, Isa isa, double ghz) {
  DepthwiseLayer layer;
  layer.channels = static_cast<int32_t>(l.channels);
  const int32_t pad = l.dilation * (l.kernel / 2);
  layer.geometry = {l.kernel, l.kernel, l.stride, l.stride, pad, pad, pad, pad, l.dilation, l.dilation};
  const std::vector<int8_t> weight(static_cast<size_t>(l.channels * l.kernel * l.kernel), 3);
  const std::vector<int32_t> bias(static_cast<size_t>(l.channels), 5);
  const std::vector<float> multiplier(static_cast<size_t>(l.channels), 0.01F);
  layer.weight = weight.data();
  layer.bias = bias.data();
  layer.multiplier = multiplier.data();
  const Aligned packed(static_cast<size_t>(depthwise_packed_bytes(layer, isa)), 0);
  if (!depthwise_pack(layer, isa, packed.get())) std::abort();
  const int64_t out = layer.geometry.output_h(l.size), c = l.channels;
  const auto x_bytes = static_cast<size_t>(l.size * l.size * c), y_bytes = static_cast<size_t>(out * out * c);
  const Aligned x(x_bytes, 7), y(y_bytes, 0);
  const Nhwc<const uint8_t> view_x{x.get(), 1, l.size, l.size, c, l.size * l.size * c, l.size * c, c};
  const Nhwc<uint8_t> view_y{y.get(), 1, out, out, c, out * out * c, out * c, c};
  const double s = best_seconds(
      0.02, [&] { depthwise_run(*reinterpret_cast<const PackedDepthwise*>(packed.get()), view_x, {}, view_y, 1); });
  const double copy = best_seconds(0.02, [&] { std::memcpy(y.get(), x.get(), y_bytes); });
  const double outputs = static_cast<double>(out * out * c);
  std::printf(
      "%-10s %-12s %3ldx%-3ld c%-5ld k%d s%d d%d %8.1f us %6.1f G MAC/s %5.2f cycles/16 outputs, %5.1f GB/s of %5.1f\n",
      isa_name(isa), depthwise_kernel(layer.geometry, isa).name, static_cast<long>(l.size), static_cast<long>(l.size),
      static_cast<long>(c), l.kernel, l.stride, l.dilation, s * 1e6, outputs * l.kernel * l.kernel / s * 1e-9,
      s * ghz * 1e9 / outputs * 16, static_cast<double>(x_bytes + y_bytes) / s * 1e-9,
      2.0 * static_cast<double>(y_bytes) / copy * 1e-9);
}

}  // namespace

// FXQUANT_BENCH_GHZ: the clock, for the cycles. FXQUANT_ISA: only this one.
int main() {
  const char* clock = std::getenv("FXQUANT_BENCH_GHZ");
  const char* only = std::getenv("FXQUANT_ISA");
  for (int i = kIsaCount - 1; i >= 0; --i) {
    if (!isa_supported(static_cast<Isa>(i)) || (only && std::strcmp(only, isa_name(static_cast<Isa>(i))))) continue;
    for (const Layer& layer : kLayers) bench(layer, static_cast<Isa>(i), clock ? std::atof(clock) : 3.0);
  }
}
