// Pools of ResNet, MobileNet and Inception shapes, one thread: time and GB/s, next to a plain copy in this process.
#include "base/bench.h"

#include <cstdio>
#include <cstring>
#include <vector>

#include "pool/pool.h"

using namespace fxquant;

namespace {

struct Shape {
  const char* name;
  PoolOp op;
  int64_t size, channels, kernel, stride, padding;
};

constexpr Shape kShapes[] = {
    {"max 3x3 s2", PoolOp::max, 112, 64, 3, 2, 1},         {"max 2x2 s2", PoolOp::max, 112, 128, 2, 2, 0},
    {"max 3x3 s2", PoolOp::max, 35, 288, 3, 2, 0},         {"average 3x3 s1", PoolOp::average, 8, 2048, 3, 1, 1},
    {"max 5x5 s1", PoolOp::max, 20, 256, 5, 1, 2},         {"average 3x3 s1", PoolOp::average, 35, 192, 3, 1, 1},
    {"average 2x2 s2", PoolOp::average, 56, 128, 2, 2, 0}, {"global 7x7", PoolOp::average, 7, 1280, 7, 1, 0},
    {"global 7x7", PoolOp::average, 7, 2048, 7, 1, 0},     {"global 56x56", PoolOp::average, 56, 24, 56, 1, 0},
};

void bench(const Shape& s, Isa isa) {
  const int64_t out = (s.size + 2 * s.padding - s.kernel) / s.stride + 1, c = s.channels;
  const auto x_bytes = static_cast<size_t>(s.size * s.size * c), y_bytes = static_cast<size_t>(out * out * c);
  const Aligned x(x_bytes, 7), y(y_bytes, 0), copied(x_bytes, 0);
  std::vector<Window> windows(static_cast<size_t>(out));
  pool_windows({s.kernel, s.stride, s.padding, 1}, s.size, out, false, windows.data());
  const Nhwc<const uint8_t> view_x{x.get(), 1, s.size, s.size, c, s.size * s.size * c, s.size * c, c};
  const Nhwc<uint8_t> view_y{y.get(), 1, out, out, c, out * out * c, out * c, c};
  const double pooling = best_seconds(0.02, [&] {
    if (s.op == PoolOp::max) return max_pool2d(view_x, view_y, windows.data(), windows.data(), 1, 1, isa, 1);
    avg_pool2d(view_x, view_y, windows.data(), windows.data(), {0.7F, 3, {5, 0, 255}}, isa, 1);
  });
  const double copy = best_seconds(0.02, [&] { std::memcpy(copied.get(), x.get(), x_bytes); });
  std::printf("%-10s %-14s %3ldx%-3ld c%-5ld %8.1f us, input at %6.1f GB/s (copied at %5.1f)\n", isa_name(isa), s.name,
              static_cast<long>(s.size), static_cast<long>(s.size), static_cast<long>(c), pooling * 1e6,
              static_cast<double>(x_bytes) / pooling * 1e-9, static_cast<double>(x_bytes) / copy * 1e-9);
}

}  // namespace

int main() {
  for (int i = kIsaCount - 1; i >= 0; --i) {
    if (!isa_supported(static_cast<Isa>(i))) continue;
    for (const Shape& shape : kShapes) bench(shape, static_cast<Isa>(i));
  }
}
