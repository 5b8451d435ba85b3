// Doubling of an image, bilinear and nearest, one thread, beside a plain copy.
#include "base/bench.h"

#include "resize/source.h"

using namespace fxquant;

namespace {

void bench(int64_t size, int64_t c) {
  const int64_t out = 2 * size, bytes = size * size * c * 5;
  std::vector<uint8_t> x(static_cast<size_t>(size * size * c), 7), y(static_cast<size_t>(out * out * c));
  const Nhwc<const uint8_t> from{x.data(), 1, size, size, c, size * size * c, size * c, c};
  const Nhwc<uint8_t> to{y.data(), 1, out, out, c, out * out * c, out * c, c};
  std::vector<Tap> taps;
  std::vector<int64_t> indices;
  for (int64_t i = 0; i < out; ++i) {
    taps.push_back(bilinear_tap({size, out, 0.0}, false, i));
    indices.push_back(nearest_index({size, out, 0.0}, i));
  }
  char name[64];
  for_each_isa([&](Isa isa) {
    std::snprintf(name, sizeof name, "bilinear %ld x %ld, %ld channels", static_cast<long>(size),
                  static_cast<long>(size), static_cast<long>(c));
    report(name, isa, bytes, [&] { interpolate_bilinear(from, to, taps.data(), taps.data(), 128, isa, 1); });
  });
  std::memcpy(name, "nearest ", 8);
  report(name, best_isa(), bytes, [&] { interpolate_nearest(from, to, indices.data(), indices.data(), 1); });
}

}  // namespace

int main() {
  bench(28, 64);
  bench(32, 21);
  bench(64, 3);
}
