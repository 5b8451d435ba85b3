// Every kernel against reference.h, bit for bit. Inputs end at guard pages; bytes between output pixels are canaries.
#include "base/test.h"

#include <string>

#include "pool/pool.h"
#include "pool/reference.h"

namespace fxquant {
namespace {

constexpr uint8_t kCanary = 0xA5;

struct Shape {
  int64_t n = 1, h = 1, w = 1, c = 1, oh = 1, ow = 1;
};

int64_t outputs(const PoolAxis& axis, int64_t size) {
  return (size + 2 * axis.padding - axis.dilation * (axis.kernel - 1) - 1) / axis.stride + 1;
}

class Case {
 public:
  Case(const Shape& shape, uint32_t salt)
      : rows(static_cast<size_t>(shape.oh)),
        columns(static_cast<size_t>(shape.ow)),
        shape_(shape),
        salt_(salt),
        random_(salt),
        pitch_(shape.c + (salt % 2 == 0 ? 3 : 0)),
        x(elements(shape.h, shape.w)) {
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<uint8_t>(random_.integer(0, 255));
    pool.multiplier = random_.real(0.3F, 3.0F);
    pool.x_zero_point = static_cast<int32_t>(random_.integer(0, 2)) * 255 / 2;
    pool.output.zero_point = static_cast<int32_t>(random_.integer(0, 255));
    pool.output.quant_min = static_cast<int32_t>(random_.integer(0, 50));
    pool.output.quant_max = static_cast<int32_t>(random_.integer(100, 255));
  }

  void check_max(int64_t dilation_h = 1, int64_t dilation_w = 1) {
    check(
        [&](const Nhwc<uint8_t>& y) {
          max_pool2d_reference(view_x(), y, rows.data(), columns.data(), dilation_h, dilation_w);
        },
        [&](const Nhwc<uint8_t>& y, Isa isa, int threads) {
          max_pool2d(view_x(), y, rows.data(), columns.data(), dilation_h, dilation_w, isa, threads);
        });
  }

  void check_average() {
    check([&](const Nhwc<uint8_t>& y) { avg_pool2d_reference(view_x(), y, rows.data(), columns.data(), pool); },
          [&](const Nhwc<uint8_t>& y, Isa isa, int threads) {
            avg_pool2d(view_x(), y, rows.data(), columns.data(), pool, isa, threads);
          });
  }

  std::vector<Window> rows, columns;
  AveragePool pool;

 private:
  // Pixels `pitch_` apart, without the gap after the last.
  size_t elements(int64_t h, int64_t w) const {
    return static_cast<size_t>(shape_.n * h * w * pitch_ - (pitch_ - shape_.c));
  }
  Nhwc<const uint8_t> view_x() {
    return {x.data(), shape_.n, shape_.h, shape_.w, shape_.c, shape_.h * shape_.w * pitch_, shape_.w * pitch_, pitch_};
  }
  Nhwc<uint8_t> view_y(uint8_t* y) const {
    const int64_t stride_h = shape_.ow * pitch_;
    return {y, shape_.n, shape_.oh, shape_.ow, shape_.c, shape_.oh * stride_h, stride_h, pitch_};
  }

  template <class Reference, class Run>
  void check(const Reference& reference, const Run& run) {
    std::vector<uint8_t> expected(elements(shape_.oh, shape_.ow), kCanary);
    reference(view_y(expected.data()));
    for (const Isa isa : supported_isas()) {
      for (int threads = 1; threads <= (salt_ % 4 == 0 ? 2 : 1); ++threads) {
        SCOPED_TRACE(std::string(isa_name(isa)) + ", threads " + std::to_string(threads) + ", seed " +
                     std::to_string(test_seed()) + ", channels " + std::to_string(shape_.c));
        Guarded<uint8_t> y(expected.size());
        y.fill(kCanary);
        run(view_y(y.data()), isa, threads);
        ASSERT_EQ(std::vector<uint8_t>(y.data(), y.data() + y.size()), expected);
      }
    }
  }

  Shape shape_;
  uint32_t salt_;
  Random random_;
  int64_t pitch_;

 public:
  Guarded<uint8_t> x;
};

TEST(Pool, EveryRemainderOfChannels) {
  for (int64_t c = 1; c <= 200; ++c) {
    Case k({1, 5, 6, c, 3, 3}, static_cast<uint32_t>(c));
    pool_windows({3, 2, 1, 1}, 5, 3, true, k.rows.data());
    pool_windows({3, 2, 1, 1}, 6, 3, true, k.columns.data());
    k.check_max();
    k.check_average();
  }
}

TEST(Pool, RandomWindows) {
  Random random(11);
  for (uint32_t i = 0; i < 400; ++i) {
    PoolAxis axis[2];
    for (PoolAxis& a : axis) {
      a.kernel = random.integer(1, 6);
      a.stride = random.integer(1, 4);
      a.padding = random.integer(0, a.kernel / 2);
      a.dilation = i % 2 == 0 ? random.integer(1, 3) : 1;
    }
    const int64_t h = random.integer(1, 15), w = random.integer(1, 15);
    const int64_t oh = outputs(axis[0], h), ow = outputs(axis[1], w);
    if (oh < 1 || ow < 1) continue;
    Case k({random.integer(1, 3), h, w, random.integer(1, 150), oh, ow}, i);
    pool_windows(axis[0], h, oh, i % 3 == 0, k.rows.data());
    pool_windows(axis[1], w, ow, i % 3 == 0, k.columns.data());
    k.check_max(axis[0].dilation, axis[1].dilation);
    if (i % 2 == 1) k.check_average();
  }
}

// Rows of outputs that need more columns than are reduced at a time, windows around the widest that share them.
TEST(Pool, OverlappingWindowsOfWideImages) {
  constexpr int64_t kHeight = 5, kWidth = 140;
  const PoolAxis vertical{3, 1, 1, 1};
  for (const int64_t kernel : {2, 3, 5, 31, 32, 33}) {
    for (const int64_t c : {3, 64, 100}) {
      const PoolAxis axis{kernel, 1, kernel / 2, 1};
      const int64_t ow = outputs(axis, kWidth);
      Case k({1, kHeight, kWidth, c, kHeight, ow}, static_cast<uint32_t>(kernel + c));
      pool_windows(vertical, kHeight, kHeight, true, k.rows.data());
      pool_windows(axis, kWidth, ow, true, k.columns.data());
      k.check_max();
      k.check_average();
    }
  }
}

TEST(Pool, AdaptiveWindows) {
  Random random(12);
  for (uint32_t i = 0; i < 200; ++i) {
    const Shape shape{random.integer(1, 2),   random.integer(1, 20), random.integer(1, 20),
                      random.integer(1, 300), random.integer(1, 9),  random.integer(1, 9)};
    Case k(shape, i);
    adaptive_windows(shape.h, shape.oh, k.rows.data());
    adaptive_windows(shape.w, shape.ow, k.columns.data());
    k.check_average();
  }
}

TEST(Pool, SumsLongerThanSixteenBits) {
  for (const int64_t h : {16, 17, 40}) {
    Case k({1, h, 33, 70, 1, 1}, 1);
    for (size_t i = 0; i < k.x.size(); ++i) k.x[i] = 255;
    adaptive_windows(h, 1, k.rows.data());
    adaptive_windows(33, 1, k.columns.data());
    k.pool = {0.5F, 0, {3, 0, 255}};
    k.check_average();
    k.pool = {1.0F, 255, {3, 0, 255}};
    k.check_average();
  }
}

TEST(Pool, HugeProductsSaturate) {
  for (const float multiplier : {1e9F, -1e9F, 1e30F}) {
    Case k({1, 6, 6, 40, 3, 3}, 2);
    pool_windows({2, 2, 0, 1}, 6, 3, false, k.rows.data());
    pool_windows({2, 2, 0, 1}, 6, 3, false, k.columns.data());
    k.pool = {multiplier, 128, {7, 2, 250}};
    k.check_average();
  }
}

TEST(Pool, TiesRoundToEven) {
  Case k({1, 8, 8, 40, 4, 4}, 2);
  pool_windows({2, 2, 0, 1}, 8, 4, false, k.rows.data());
  pool_windows({2, 2, 0, 1}, 8, 4, false, k.columns.data());
  k.pool = {1.0F, 0, {1, 0, 255}};
  k.check_average();
}

TEST(Pool, WindowsOfTorch) {
  Window w[4];
  pool_windows({3, 2, 1, 1}, 6, 4, true, w);  // as with ceil_mode
  EXPECT_EQ(w[0].begin, 0);
  EXPECT_EQ(w[0].end, 2);
  EXPECT_EQ(w[0].extent, 3);
  EXPECT_EQ(w[3].begin, 5);
  EXPECT_EQ(w[3].end, 6);
  EXPECT_EQ(w[3].extent, 2);
  pool_windows({3, 2, 1, 1}, 6, 4, false, w);
  EXPECT_EQ(w[0].extent, 2);
  EXPECT_EQ(w[3].extent, 1);
  pool_windows({3, 1, 1, 2}, 6, 4, false, w);
  EXPECT_EQ(w[0].begin, 1);
  EXPECT_EQ(w[0].end, 4);
  adaptive_windows(7, 3, w);
  EXPECT_EQ(w[1].begin, 2);
  EXPECT_EQ(w[1].end, 5);
}

}  // namespace
}  // namespace fxquant
