#include "conv/test_case.h"
#include "winograd/winograd.h"

namespace fxquant {
namespace {

void expect_reference(const Problem& p, TestLayer& test, Random& random) {
  expect_reference(p, test, random, {winograd_scratch_size, run_winograd, winograd_fits});
}

void expect_reference(const Problem& p, Random& random) {
  TestLayer layer(p.c, p.geometry.out_channels, 3, 3, 1, random);
  expect_reference(p, layer, random);
}

Problem random_problem(Random& random) {
  const auto up_to = [&](int64_t high) { return random.integer(0, high); };
  Problem p = problem(16 * (1 + up_to(5)), 1, 1 + up_to(80), 3, 1, 0);
  ConvGeometry& g = p.geometry;
  g.pad_top = up_to(2);
  g.pad_left = up_to(2);
  g.pad_bottom = up_to(2);
  g.pad_right = up_to(2);
  p.n = 1 + up_to(2);
  p.h = std::max<int64_t>(1, 3 - g.pad_top - g.pad_bottom) + up_to(12);
  p.w = std::max<int64_t>(1, 3 - g.pad_left - g.pad_right) + up_to(12);
  choose_surroundings(p, random);
  return p;
}

TEST(Winograd, RandomProblems) {
  Random random(1);
  for (int i = 0; i < 300; ++i) expect_reference(random_problem(random), random);
}

TEST(Winograd, ManyBlocksAndPanels) {
  Random random(2);
  for (const int threads : {1, 2}) {
    Problem p = problem(96, 37, 200, 3, 1, 1);
    p.n = 2;
    p.threads = threads;
    p.residual = true;
    expect_reference(p, random);
  }
}

// The largest transformed inputs and weights there can be, and sums as large as may be packed.
TEST(Winograd, ExtremeValues) {
  Random random(3);
  for (const int weight : {-128, 127}) {
    for (const int zero_point : {0, 255}) {
      for (const int pattern : {0, 1, 2}) {
        Problem p = problem(112, 9, 40, 3, 1, 1);
        TestLayer layer(112, 40, 3, 3, 1, random);
        p.input = pattern == 2 ? -1 : 255 - zero_point;
        for (size_t i = 0; i < layer.weight.size(); ++i) {
          const bool opposite = pattern > 0 && (i % 9) % 2 == 1;
          layer.weight[i] = static_cast<int8_t>(opposite ? -1 - weight : weight);
        }
        layer.layer.x_zero_point = zero_point;
        expect_reference(p, layer, random);
      }
    }
  }
}

// A layer and a call of it that is all right, but for what a test changes.
struct Fitting {
  TestLayer layer;
  Conv conv;
  Fitting(int64_t channels, Random& random) : layer(channels, 3, 3, 3, 1, random) {
    conv.geometry = problem(channels, 10, 3, 3, 1, 1).geometry;
    conv.x = view_of<const uint8_t>(1, 10, 10, channels, {});
    conv.y = view_of<uint8_t>(1, 10, 10, 3, {});
    layer.layer.layer = Layer::conv;
  }
  bool fits(Isa isa) {
    const Packed packed(layer.weights(), isa);
    conv.packed = &packed_header(packed.data, packed.size, Layer::conv, isa);
    return winograd_fits(conv);
  }
};

TEST(Winograd, FitsSumsThatAreExact) {
  Random random(5);
  constexpr int64_t kMost = INT32_MAX / 64 / 255 / 9 / 127;  // channels of weights that are all 127
  for (const Isa isa : supported_isas()) {
    const auto fits = [&](int64_t channels, int weight, float multiplier) {
      Fitting call(channels, random);
      for (auto& w : call.layer.weight) w = static_cast<int8_t>(weight);
      for (auto& m : call.layer.multiplier) m = multiplier;
      return call.fits(isa);
    };
    const bool supported = isa == Isa::avx2 || isa == Isa::avxvnni || isa == Isa::avx512vnni;
    EXPECT_EQ(fits(kMost / 16 * 16, 127, 1e-5F), supported);
    EXPECT_EQ(fits(kMost / 16 * 16, -127, 1e-5F), supported);
    EXPECT_FALSE(fits(kMost / 16 * 16 + 16, 127, 1e-5F));
    EXPECT_FALSE(fits(kMost / 16 * 16 + 16, -127, 1e-5F));
    EXPECT_FALSE(fits(24, 1, 1e-5F));
    EXPECT_FALSE(fits(32, 127, 1e9F));
  }
}

TEST(Winograd, FitsDenseKernelsThatSlideByOne) {
  Random random(6);
  const Isa isa = best_isa();
  const bool supported = Fitting(16, random).fits(isa);
  for (int64_t ConvGeometry::* field :
       {&ConvGeometry::stride_h, &ConvGeometry::stride_w, &ConvGeometry::dilation_h, &ConvGeometry::dilation_w}) {
    Fitting call(16, random);
    call.conv.geometry.*field = 2;
    EXPECT_FALSE(call.fits(isa));
  }
  Fitting some_rows(16, random);
  some_rows.conv.row_end = 9;
  EXPECT_FALSE(some_rows.fits(isa));
  some_rows.conv.row_end = 10;
  EXPECT_EQ(some_rows.fits(isa), supported);
}

}  // namespace
}  // namespace fxquant
