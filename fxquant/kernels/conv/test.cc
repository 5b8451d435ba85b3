#include <stdexcept>

#include "conv/conv.h"
#include "conv/test_case.h"

namespace fxquant {
namespace {

void expect_reference(const Problem& p, TestLayer& test, Random& random) {
  expect_reference(p, test, random, {conv_scratch_size, run_conv, [](const Conv&) { return true; }});
}

void expect_reference(const Problem& p, Random& random) {
  const ConvGeometry& g = p.geometry;
  TestLayer layer(p.c, g.out_channels, g.kernel_h, g.kernel_w, g.groups, random);
  expect_reference(p, layer, random);
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
  choose_surroundings(p, random);
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

TEST(Conv, PointwiseIntoALargerImage) {
  Random random(10);
  for (const int64_t w : {3, 14, 29}) {
    for (const int64_t channels : {20, 64, 1100}) {
      Problem p = problem(channels, w, 72, 1, 1, 0);
      p.n = 2;
      p.y_gaps = {0, 2, 1};
      p.threads = 2;
      expect_reference(p, random);
      p.table = true;
      p.y_gaps.pixel = 8;
      expect_reference(p, random);
    }
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

// Lines of an image with gaps between their inputs run in tiles that make up a line; threads begin in the midst of one.
TEST(Conv, ThreadsSplitLines) {
  Random random(12);
  for (const int64_t size : {14, 21, 25}) {
    for (const int64_t groups : {1, 2}) {
      for (const int64_t stride : {1, 2}) {
        Problem p = problem(32, size * stride, 32, 3, stride, 1, groups);
        p.n = 3;
        p.threads = 3;
        p.table = size == 21;
        expect_reference(p, random);
        p.y_gaps = {16, 2, 1};
        expect_reference(p, random);
      }
    }
  }
}

TEST(Conv, ThreadsSplitPanels) {
  Random random(6);
  Problem p = problem(64, 7, 300, 3, 1, 1);
  p.threads = 2;
  expect_reference(p, random);
}

TEST(Conv, FewPixelsTimesSeveralPanelsAtOnce) {
  Random random(13);
  for (const int64_t groups : {1, 2, 3}) {
    for (const int64_t channels : {16, 21, 64}) {
      for (const int64_t kernel : {1, 3}) {
        Problem p = problem(channels * groups, kernel, (kernel == 1 ? 128 : 200) * groups, kernel, 1, 0, groups);
        expect_reference(p, random);
        p.h += random.integer(0, 1);
        p.w += random.integer(0, 2);
        choose_surroundings(p, random);
        expect_reference(p, random);
      }
    }
  }
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
  EXPECT_EQ(conv_scratch_size(conv, 1), 0);
  conv.geometry.pad_left = 1;
  EXPECT_GE(conv_scratch_size(conv, 1), 10 * 11 * 64);
  conv.x_has_halo = true;
  EXPECT_EQ(conv_scratch_size(conv, 1), 0);
}

TEST(Conv, RunsOnFewerThreadsThanItWasPlannedFor) {
  Random random(10);
  Problem p = problem(64, 14, 64, 3, 1, 1);
  p.halo = true;
  TestLayer layer(64, 64, 3, 3, 1, random);
  const auto of_more = [](const Conv& conv, int threads) { return conv_scratch_size(conv, threads + 1); };
  expect_reference(p, layer, random, {of_more, run_conv, [](const Conv&) { return true; }});
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
