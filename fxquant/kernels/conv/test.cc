#include <algorithm>
#include <stdexcept>
#include <string>

#include "conv/conv.h"
#include "conv/reference.h"
#include "gemm/test_case.h"

namespace fxquant {
namespace {

// Where a tensor lies: bytes between pixels, pixels between rows, rows between images.
struct Gaps {
  int64_t pixel = 0, row = 0, image = 0;
};

struct Problem {
  ConvGeometry geometry;
  int64_t n = 1, h = 1, w = 1, c = 1;
  Gaps x_gaps, y_gaps;
  bool residual = false, table = false, halo = false;
  int threads = 1;
  int input = -1;  // the value of all inputs, or -1 for random ones
};

std::string text(const Problem& p) {
  const ConvGeometry& g = p.geometry;
  std::string s;
  for (const int64_t v : {p.n,
                          p.c,
                          p.h,
                          p.w,
                          g.out_channels,
                          g.kernel_h,
                          g.kernel_w,
                          g.stride_h,
                          g.stride_w,
                          g.pad_top,
                          g.pad_left,
                          g.pad_bottom,
                          g.pad_right,
                          g.dilation_h,
                          g.dilation_w,
                          g.groups,
                          p.x_gaps.pixel,
                          p.y_gaps.pixel,
                          int64_t{p.residual},
                          int64_t{p.table},
                          int64_t{p.halo},
                          int64_t{p.threads}}) {
    s += std::to_string(v) + " ";
  }
  return s + "seed=" + std::to_string(test_seed());
}

template <class T>
Nhwc<T> view_of(int64_t n, int64_t h, int64_t w, int64_t c, const Gaps& gaps) {
  const int64_t stride_w = c + gaps.pixel, stride_h = (w + gaps.row) * stride_w, stride_n = (h + gaps.image) * stride_h;
  return {nullptr, n, h, w, c, stride_n, stride_h, stride_w};
}

// Bytes from the first element of `view` to its last.
template <class T>
size_t extent(const Nhwc<T>& view) {
  return static_cast<size_t>((view.n - 1) * view.stride_n + (view.h - 1) * view.stride_h +
                             (view.w - 1) * view.stride_w + view.c);
}

template <class T>
void randomize(Guarded<T>& buffer, Random& random, int fixed) {
  for (size_t i = 0; i < buffer.size(); ++i) buffer[i] = static_cast<T>(fixed < 0 ? random.integer(0, 255) : fixed);
}

// An input that ends at a guard page; with a halo it is the middle of a larger tensor full of the zero point.
class Input {
 public:
  Input(const Problem& p, int32_t zero_point, Random& random) : outer_(outer_view(p)), buffer_(extent(outer_)) {
    randomize(buffer_, random, p.halo ? zero_point : p.input);
    outer_.data = buffer_.data();
    const ConvGeometry& g = p.geometry;
    view = {outer_.at(0, p.halo ? g.pad_top : 0, p.halo ? g.pad_left : 0),
            p.n,
            p.h,
            p.w,
            p.c,
            outer_.stride_n,
            outer_.stride_h,
            outer_.stride_w};
    for (int64_t i = 0; p.halo && i < p.n * p.h * p.w * p.c; ++i) {
      const int64_t pixel = i / p.c;
      const uint8_t* at = view.at(pixel / p.w / p.h, pixel / p.w % p.h, pixel % p.w) + i % p.c;
      buffer_[static_cast<size_t>(at - buffer_.data())] = static_cast<uint8_t>(random.integer(0, 255));
    }
  }
  Nhwc<const uint8_t> view;

 private:
  static Nhwc<const uint8_t> outer_view(const Problem& p) {
    const ConvGeometry& g = p.geometry;
    const int64_t more_h = p.halo ? g.pad_top + g.pad_bottom : 0, more_w = p.halo ? g.pad_left + g.pad_right : 0;
    return view_of<const uint8_t>(p.n, p.h + more_h, p.w + more_w, p.c, p.x_gaps);
  }
  Nhwc<const uint8_t> outer_;
  Guarded<uint8_t> buffer_;
};

void expect_reference(const Problem& p, TestLayer& test, Random& random) {
  SCOPED_TRACE(text(p));
  LayerWeights layer = test.weights();
  layer.layer = Layer::conv;
  layer.dense_w = p.geometry.dilation_w == 1;
  layer.has_residual = p.residual;
  layer.table = p.table ? test.table.data() : nullptr;
  const Input input(p, layer.x_zero_point, random);
  Conv conv;
  conv.geometry = p.geometry;
  conv.x = input.view;
  conv.x_has_halo = p.halo;
  conv.y = view_of<uint8_t>(p.n, p.geometry.output_h(p.h), p.geometry.output_w(p.w), p.geometry.out_channels, p.y_gaps);
  Guarded<uint8_t> y(extent(conv.y)), residual(extent(conv.y)), expected(extent(conv.y));
  randomize(residual, random, -1);
  if (p.residual) {
    conv.residual = {residual.data(), conv.y.n,        conv.y.h,        conv.y.w,
                     conv.y.c,        conv.y.stride_n, conv.y.stride_h, conv.y.stride_w};
  }
  expected.fill(kCanary);
  conv.y.data = expected.data();
  reference_conv(layer, p.geometry, conv.x, conv.residual, conv.y);
  conv.y.data = y.data();
  for (const Isa isa : supported_isas()) {
    SCOPED_TRACE(isa_name(isa));
    const Packed packed(layer, isa);
    ASSERT_EQ(packed.refused, -1);
    conv.packed = &packed_header(packed.data, packed.size, Layer::conv, isa);
    Guarded<uint8_t> scratch(static_cast<size_t>(conv_scratch_size(conv)));
    randomize(scratch, random, -1);
    conv.scratch = scratch.data();
    y.fill(kCanary);
    run_conv(conv, p.threads);
    for (size_t i = 0; i < y.size(); ++i) ASSERT_EQ(int{y[i]}, int{expected[i]}) << "at byte " << i;
  }
}

void expect_reference(const Problem& p, Random& random) {
  const ConvGeometry& g = p.geometry;
  TestLayer layer(p.c, g.out_channels, g.kernel_h, g.kernel_w, g.groups, random);
  expect_reference(p, layer, random);
}

Problem problem(int64_t c, int64_t size, int64_t o, int64_t kernel, int64_t stride, int64_t pad, int64_t groups = 1) {
  Problem p;
  p.geometry = {o, kernel, kernel, stride, stride, pad, pad, pad, pad, 1, 1, groups};
  p.c = c;
  p.h = p.w = size;
  return p;
}

Problem random_problem(Random& random) {
  Problem p;
  ConvGeometry& g = p.geometry;
  const auto up_to = [&](int64_t high) { return random.integer(0, high); };
  g.groups = up_to(2) ? 1 : 1 + up_to(8);
  p.c = g.groups * (1 + up_to(g.groups == 1 ? 40 : 10));
  g.out_channels = g.groups * (1 + up_to(g.groups == 1 ? 70 : 20));
  g.kernel_h = 1 + up_to(4);
  g.kernel_w = 1 + up_to(4);
  g.stride_h = 1 + up_to(2);
  g.stride_w = 1 + up_to(2);
  g.dilation_h = 1 + up_to(2);
  g.dilation_w = 1 + up_to(1);
  if (up_to(3)) {
    g.pad_top = up_to(3);
    g.pad_left = up_to(3);
    g.pad_bottom = up_to(3);
    g.pad_right = up_to(3);
  }
  p.n = 1 + up_to(2);
  p.h = std::max<int64_t>(1, g.dilation_h * (g.kernel_h - 1) + 1 - g.pad_top - g.pad_bottom) + up_to(7);
  p.w = std::max<int64_t>(1, g.dilation_w * (g.kernel_w - 1) + 1 - g.pad_left - g.pad_right) + up_to(7);
  if (up_to(1)) p.x_gaps = {up_to(5), up_to(2), up_to(2)};
  if (up_to(1)) p.y_gaps = {up_to(40), up_to(2), up_to(2)};
  p.residual = up_to(1);
  p.table = up_to(3) == 0;
  p.halo = up_to(2) == 0;
  p.threads = static_cast<int>(1 + up_to(1));
  return p;
}

TEST(Conv, RandomProblems) {
  Random random(1);
  for (int i = 0; i < 400; ++i) expect_reference(random_problem(random), random);
}

TEST(Conv, Stems) {
  Random random(2);
  expect_reference(problem(3, 33, 64, 7, 2, 3), random);
  expect_reference(problem(3, 32, 32, 3, 2, 1), random);
  expect_reference(problem(3, 21, 32, 3, 1, 0), random);  // in place: the last row ends with the tensor
  expect_reference(problem(1, 20, 10, 5, 1, 0), random);
  Problem apart = problem(3, 21, 32, 3, 1, 0);  // a kernel row is packed as one tap, but pixels lie apart
  apart.x_gaps.pixel = 1;
  expect_reference(apart, random);
}

TEST(Conv, PointwiseReadsInPlace) {
  Random random(3);
  for (const int64_t stride : {1, 2}) {
    Problem p = problem(64, 28, 96, 1, stride, 0);
    p.threads = 2;
    p.residual = true;
    expect_reference(p, random);
  }
}

// Groups of 4 and 8 channels: one, two and many joined groups, in tiles of all sizes, reading up to the guard page.
TEST(Conv, GroupsThatFillAVectorTogether) {
  Random random(11);
  for (const int64_t inputs : {4, 8}) {
    for (const int64_t joined : {1, 2, 5}) {
      for (int64_t size = 3; size <= 8; ++size) {
        Problem p =
            problem(16 * joined, size, 16 * joined, 3, 1 + size % 2, size % 3 == 0 ? 0 : 1, 16 * joined / inputs);
        p.residual = size % 2 == 0;
        p.table = size % 3 == 1;
        p.halo = size == 5;
        p.threads = static_cast<int>(1 + joined % 2);
        if (size == 7) p.geometry.dilation_w = 2;
        expect_reference(p, random);
        TestLayer wide(p.c, p.geometry.out_channels, 3, 3, p.geometry.groups, random);
        for (auto& m : wide.multiplier) m *= 1e9F;
        expect_reference(p, wide, random);
      }
    }
  }
}

TEST(Conv, SmallGroupsAreJoined) {
  Random random(4);
  for (const int64_t channels : {1, 2, 3, 4, 5, 8, 16, 24}) {
    expect_reference(problem(12 * channels, 9, 12 * channels, 3, 1, 1, 12), random);
  }
  expect_reference(problem(14, 9, 21, 3, 2, 1, 7), random);
}

TEST(Conv, BatchesBeyondOneBlockOfScratch) {
  Random random(5);
  Problem p = problem(64, 40, 8, 3, 2, 1);
  p.n = 5;
  p.threads = 2;
  expect_reference(p, random);
}

TEST(Conv, ThreadsSplitPanels) {
  Random random(6);
  Problem p = problem(64, 7, 300, 3, 1, 1);
  p.threads = 2;
  expect_reference(p, random);
}

TEST(Conv, ExtremeValues) {
  Random random(7);
  for (const int weight : {-128, 127}) {
    for (const int zero_point : {0, 255}) {
      Problem p = problem(64, 6, 40, 3, 1, 1);
      p.input = 255 - zero_point;
      TestLayer layer(64, 40, 3, 3, 1, random);
      for (auto& w : layer.weight) w = static_cast<int8_t>(weight);
      layer.layer.x_zero_point = zero_point;
      expect_reference(p, layer, random);
    }
  }
}

TEST(Conv, ScratchOnlyWherePaddingOrGapsNeedIt) {
  Random random(8);
  TestLayer test(64, 8, 3, 3, 1, random);
  const Packed packed(test.weights(), Isa::scalar);
  Conv conv;
  conv.packed = reinterpret_cast<const PackedHeader*>(packed.data);
  conv.geometry = problem(64, 10, 8, 3, 1, 0).geometry;
  conv.x = view_of<const uint8_t>(1, 10, 10, 64, {});
  EXPECT_EQ(conv_scratch_size(conv), 0);
  conv.geometry.pad_left = 1;
  EXPECT_GE(conv_scratch_size(conv), 10 * 11 * 64);
  conv.x_has_halo = true;
  EXPECT_EQ(conv_scratch_size(conv), 0);
}

TEST(Conv, RefusesAnotherGeometry) {
  Random random(9);
  TestLayer test(3, 8, 3, 3, 1, random);
  LayerWeights layer = test.weights();
  layer.layer = Layer::conv;
  const Packed packed(layer, Isa::scalar);
  std::vector<uint8_t> x(3 * 100), y(8 * 100);
  Conv conv;
  conv.packed = &packed_header(packed.data, packed.size, Layer::conv, Isa::scalar);
  conv.geometry = problem(3, 10, 8, 3, 1, 0).geometry;
  conv.x = view_of<const uint8_t>(1, 10, 10, 3, {});
  conv.y = view_of<uint8_t>(1, 8, 8, 8, {});
  conv.x.data = x.data();
  conv.y.data = y.data();
  EXPECT_NO_THROW(run_conv(conv, 1));
  const Conv good = conv;
  conv.geometry.dilation_w = 2;
  EXPECT_THROW(run_conv(conv, 1), std::invalid_argument);
  conv = good;
  conv.geometry.kernel_h = 1;
  EXPECT_THROW(run_conv(conv, 1), std::invalid_argument);
  conv = good;
  conv.x.c = 4;
  EXPECT_THROW(run_conv(conv, 1), std::invalid_argument);
  conv = good;
  conv.residual = {y.data(), 1, 8, 8, 8, 0, 0, 8};
  EXPECT_THROW(run_conv(conv, 1), std::invalid_argument);
}

}  // namespace
}  // namespace fxquant
