#include "base/test.h"

#include "resize/reference.h"

namespace fxquant {
namespace {

struct Case {
  int64_t n, c, in_h, in_w, out_h, out_w, room;
  double scale;
  bool align_corners;
  int32_t zero_point;
};

// Dense images but for `room` elements after every pixel and row.
template <class T>
Nhwc<T> view(T* data, int64_t n, int64_t h, int64_t w, int64_t c, int64_t room) {
  const int64_t stride_w = c + room, stride_h = w * stride_w + room;
  return {data, n, h, w, c, h * stride_h, stride_h, stride_w};
}

size_t extent(int64_t n, int64_t h, int64_t w, int64_t c, int64_t room) {
  const Nhwc<uint8_t> v = view<uint8_t>(nullptr, n, h, w, c, room);
  return static_cast<size_t>((n - 1) * v.stride_n + (h - 1) * v.stride_h + (w - 1) * v.stride_w + c);
}

void expect_same(Guarded<uint8_t>& actual, Guarded<uint8_t>& expected) {
  ASSERT_EQ(std::memcmp(actual.data(), expected.data(), actual.size()), 0);
}

struct Images {
  explicit Images(const Case& p)
      : x(extent(p.n, p.in_h, p.in_w, p.c, p.room)),
        y(extent(p.n, p.out_h, p.out_w, p.c, p.room)),
        expected(y.size()),
        height{p.in_h, p.out_h, p.scale},
        width{p.in_w, p.out_w, p.scale},
        from(view<const uint8_t>(x.data(), p.n, p.in_h, p.in_w, p.c, p.room)),
        to(view(y.data(), p.n, p.out_h, p.out_w, p.c, p.room)),
        truth(view(expected.data(), p.n, p.out_h, p.out_w, p.c, p.room)) {
    Random random(static_cast<uint32_t>(p.c * 31 + p.out_w));
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<uint8_t>(random.integer(0, 255));
    expected.fill(0xA5);
  }
  Guarded<uint8_t> x, y, expected;
  Axis height, width;
  Nhwc<const uint8_t> from;
  Nhwc<uint8_t> to, truth;
};

void check_bilinear(const Case& p) {
  Images images(p);
  reference_interpolate_bilinear(images.from, images.truth, images.height, images.width, p.align_corners, p.zero_point);
  std::vector<Tap> rows, columns;
  for (int64_t i = 0; i < p.out_h; ++i) rows.push_back(bilinear_tap(images.height, p.align_corners, i));
  for (int64_t i = 0; i < p.out_w; ++i) columns.push_back(bilinear_tap(images.width, p.align_corners, i));
  for (const Isa isa : supported_isas()) {
    for (const int threads : {1, 2}) {
      SCOPED_TRACE(testing::Message() << isa_name(isa) << ", " << threads << " threads");
      images.y.fill(0xA5);
      interpolate_bilinear(images.from, images.to, rows.data(), columns.data(), p.zero_point, isa, threads);
      expect_same(images.y, images.expected);
    }
  }
}

void check_nearest(const Case& p) {
  Images images(p);
  reference_interpolate_nearest(images.from, images.truth, images.height, images.width);
  std::vector<int64_t> rows, columns;
  for (int64_t i = 0; i < p.out_h; ++i) rows.push_back(nearest_index(images.height, i));
  for (int64_t i = 0; i < p.out_w; ++i) columns.push_back(nearest_index(images.width, i));
  for (const int threads : {1, 2}) {
    images.y.fill(0xA5);
    interpolate_nearest(images.from, images.to, rows.data(), columns.data(), threads);
    expect_same(images.y, images.expected);
  }
}

TEST(Resize, Random) {
  for (int i = 0; i < 300; ++i) {
    SCOPED_TRACE(testing::Message() << "case " << i << " of seed " << test_seed());
    Random random(static_cast<uint32_t>(i));
    Case p;
    p.n = random.integer(1, 2);
    p.c = random.integer(1, 150);
    p.in_h = random.integer(1, 7);
    p.in_w = random.integer(1, 7);
    p.out_h = random.integer(1, 12);
    p.out_w = random.integer(1, 12);
    p.room = random.integer(0, 1) * random.integer(1, 9);
    p.scale = random.integer(0, 1) == 0 ? 0.0 : static_cast<double>(random.real(0.4F, 3.0F));
    p.align_corners = random.integer(0, 1) == 1;
    p.zero_point = static_cast<int32_t>(random.integer(0, 2) * 127.5);
    check_bilinear(p);
    check_nearest(p);
    if (HasFatalFailure()) return;
  }
}

TEST(Resize, Large) {
  const Case p{1, 67, 20, 31, 40, 62, 0, 2.0, false, 77};
  check_bilinear(p);
  check_nearest(p);
}

// Torch's positions: doubling without aligned corners reads at -0.25 (cut to 0), 0.25, 0.75, ..
TEST(Resize, KnownPositions) {
  const Axis doubled{4, 8, 0.0};
  EXPECT_EQ(bilinear_tap(doubled, false, 0).weight1, 0.0F);
  EXPECT_EQ(bilinear_tap(doubled, false, 1).weight1, 0.25F);
  EXPECT_EQ(bilinear_tap(doubled, false, 2).index0, 0);
  EXPECT_EQ(bilinear_tap(doubled, false, 2).weight1, 0.75F);
  EXPECT_EQ(bilinear_tap(doubled, false, 7).index0, 3);
  EXPECT_EQ(bilinear_tap(doubled, false, 7).index1, 3);
  EXPECT_EQ(bilinear_tap({4, 7, 0.0}, true, 3).index0, 1);
  EXPECT_EQ(bilinear_tap({4, 7, 0.0}, true, 3).weight1, 0.5F);
  EXPECT_EQ(nearest_index({10, 4, 0.0}, 3), 7);
  EXPECT_EQ(nearest_index({10, 15, 1.5}, 14), 9);
}

// (0 + 1) / 2 rounds to 0, (1 + 2) / 2 to 2: ties to even, before the zero point is added.
TEST(Resize, TiesToEven) {
  const uint8_t x[] = {10, 11, 12};
  const Nhwc<const uint8_t> image{x, 1, 1, 3, 1, 3, 3, 1};
  const Tap row{0, 0, 1.0F, 0.0F};
  EXPECT_EQ(reference_bilinear(image, 0, row, {0, 1, 0.5F, 0.5F}, 0, 0), 10);
  EXPECT_EQ(reference_bilinear(image, 0, row, {1, 2, 0.5F, 0.5F}, 0, 0), 12);
  EXPECT_EQ(reference_bilinear(image, 0, row, {0, 1, 0.5F, 0.5F}, 0, 11), 11);
}

}  // namespace
}  // namespace fxquant
