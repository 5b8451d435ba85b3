// add and mul of two images, and squeeze-excite's mul by [N, C, 1, 1], one thread, beside a plain copy.
#include "base/bench.h"

#include "elementwise/elementwise.h"

using namespace fxquant;

namespace {

Walk<3> nhwc(int64_t pixels, int64_t channels, bool excitation) {
  Walk<3> walk = dense_rows<3>(pixels, channels);
  if (excitation) walk.stride[2][0] = 0;
  return walk;
}

void bench(int64_t pixels, int64_t channels) {
  const int64_t count = pixels * channels;
  const auto size = static_cast<size_t>(count);
  const Aligned a(size, 77), b(size, 77), y(size, 0);
  char name[64];
  for_each_isa([&](Isa isa) {
    std::snprintf(name, sizeof name, "add %ld pixels, %ld channels", static_cast<long>(pixels),
                  static_cast<long>(channels));
    const Add sum{0.7F, 0.4F, 3, 128, {64, 0, 255}};
    report(name, isa, 3 * count, [&] { add(nhwc(pixels, channels, false), y.get(), a.get(), b.get(), sum, isa, 1); });
    std::memcpy(name, "mul", 3);
    const Mul product{0.01F, 3, 128, {64, 0, 255}};
    report(name, isa, 3 * count,
           [&] { mul(nhwc(pixels, channels, false), y.get(), a.get(), b.get(), product, isa, 1); });
    std::memcpy(name, "exc", 3);
    report(name, isa, 2 * count,
           [&] { mul(nhwc(pixels, channels, true), y.get(), a.get(), b.get(), product, isa, 1); });
  });
}

}  // namespace

int main() {
  bench(7 * 7, 96);
  bench(56 * 56, 24);
  bench(28 * 28, 72);
  bench(14 * 14, 672);
}
