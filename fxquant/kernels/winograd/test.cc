#include "conv/test_case.h"
#include "winograd/winograd.h"

namespace fxquant {
namespace {

// Weights in the transformed form; in that of the product on an ISA that has no kernel here.
struct Transformed {
  uint8_t* data;
  int64_t size, refused;
  Transformed(const LayerWeights& layer, Isa isa) : refused(-1) {
    const bool fits = winograd_fits(layer, isa);
    size = fits ? winograd_packed_size(layer, isa) : packed_size(layer, isa);
    data = static_cast<uint8_t*>(std::aligned_alloc(64, static_cast<size_t>(size + 63) / 64 * 64));
    if (fits) {
      pack_winograd(layer, isa, data);
    } else {
      EXPECT_FALSE(winograd_supported(isa));
      refused = pack_product(layer, isa, data);
    }
  }
  Transformed(const Transformed&) = delete;
  Transformed& operator=(const Transformed&) = delete;
  ~Transformed() { std::free(data); }
};

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
  if (up_to(1)) p.x_gaps = {up_to(5), up_to(2), up_to(2)};
  if (up_to(1)) p.y_gaps = {up_to(40), up_to(2), up_to(2)};
  p.residual = up_to(1);
  p.table = up_to(3) == 0;
  p.halo = up_to(2) == 0;
  p.threads = static_cast<int>(1 + up_to(1));
  return p;
}

TEST(Winograd, RandomProblems) {
  Random random(1);
  for (int i = 0; i < 300; ++i) expect_reference<Transformed>(random_problem(random), random);
}

TEST(Winograd, ManyBlocksAndPanels) {
  Random random(2);
  for (const int threads : {1, 2}) {
    Problem p = problem(96, 37, 200, 3, 1, 1);
    p.n = 2;
    p.threads = threads;
    p.residual = true;
    expect_reference<Transformed>(p, random);
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
        expect_reference<Transformed>(p, layer, random);
      }
    }
  }
}

// Inputs of 0 and 255 alone reach the ends of the transformed inputs.
TEST(Winograd, InputsAtBothEnds) {
  Random random(4);
  Problem p = problem(16, 30, 33, 3, 1, 1);
  TestLayer test(16, 33, 3, 3, 1, random);
  for (auto& w : test.weight) w = static_cast<int8_t>(random.integer(0, 1) ? 127 : -128);
  LayerWeights layer = test.weights();
  layer.layer = Layer::conv;
  Guarded<uint8_t> x(16 * 900), y(33 * 900), expected(33 * 900);
  for (size_t i = 0; i < x.size(); ++i) x[i] = random.integer(0, 1) ? 255 : 0;
  Conv conv;
  conv.geometry = p.geometry;
  conv.x = {x.data(), 1, 30, 30, 16, 16 * 900, 16 * 30, 16};
  conv.y = {expected.data(), 1, 30, 30, 33, 33 * 900, 33 * 30, 33};
  reference_conv(layer, p.geometry, conv.x, conv.residual, conv.y);
  conv.y.data = y.data();
  for (const Isa isa : supported_isas()) {
    SCOPED_TRACE(isa_name(isa));
    const Transformed packed(layer, isa);
    expect_bytes(conv, packed_header(packed.data, packed.size, Layer::conv, isa), expected, y, 1, random);
  }
}

TEST(Winograd, FitsOnlyWhatIsExact) {
  Random random(5);
  const auto fits = [&](int64_t channels, int weight, float multiplier) {
    TestLayer test(channels, 3, 3, 3, 1, random);
    for (auto& w : test.weight) w = 0;
    for (int64_t i = 0; i < channels * 9; ++i)
      test.weight[static_cast<size_t>(channels * 9 + i)] = static_cast<int8_t>(weight);
    for (auto& m : test.multiplier) m = multiplier;
    return winograd_fits(test.weights(), best_isa());
  };
  const bool supported = winograd_supported(best_isa());
  const int64_t most = INT32_MAX / 64 / 255 / 9 / 127;  // channels whose largest sum stays below 2^31 / 64
  EXPECT_EQ(fits(most / 16 * 16, 127, 1e-5F), supported);
  EXPECT_FALSE(fits(most / 16 * 16 + 16, 127, 1e-5F));
  EXPECT_FALSE(fits(most / 16 * 16 + 16, -127, 1e-5F));
  EXPECT_FALSE(fits(24, 1, 1e-5F));   // channels come in sixteens
  EXPECT_FALSE(fits(32, 127, 1e9F));  // outputs beyond int32
}

TEST(Winograd, RefusesAnotherGeometry) {
  if (!winograd_supported(best_isa())) GTEST_SKIP();
  Random random(6);
  TestLayer test(16, 8, 3, 3, 1, random);
  const Transformed packed(test.weights(), best_isa());
  const PackedHeader& header = packed_header(packed.data, packed.size, Layer::conv, best_isa());
  EXPECT_NO_THROW(check_conv(header, problem(16, 10, 8, 3, 1, 0).geometry, 16, false));
  for (int64_t ConvGeometry::* field :
       {&ConvGeometry::stride_h, &ConvGeometry::stride_w, &ConvGeometry::dilation_h, &ConvGeometry::dilation_w}) {
    ConvGeometry g = problem(16, 10, 8, 3, 1, 0).geometry;
    g.*field = 2;
    EXPECT_THROW(check_conv(header, g, 16, false), std::invalid_argument);
  }
}

}  // namespace
}  // namespace fxquant
