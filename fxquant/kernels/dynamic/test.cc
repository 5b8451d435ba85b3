#include "base/test.h"

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "dynamic/dynamic.h"
#include "dynamic/images.h"
#include "dynamic/reference.h"
#include "gemm/test_case.h"

namespace fxquant {
namespace {

struct Shape {
  int64_t rows, outputs, depth, gap = 0;
};

TestLayer layer_of(const Shape& s, Random& random) {
  TestLayer c(s.depth, s.outputs, random);
  for (auto& m : c.multiplier) m *= 100.0F;
  c.float_weights();
  c.layer.layer = Layer::dynamic_linear;
  return c;
}

// Both end at a guard page, with gaps between rows, of which those of y are compared too. `fill(x)` may change inputs.
template <class Fill>
void expect_reference(const Shape& s, bool by_row, Levels levels, int threads, Random& random, const Fill& fill,
                      const IntegerBias& integer_bias = {}) {
  TestLayer c = layer_of(s, random);
  c.float_weights();
  const std::vector<float> zeros(c.float_bias.size());
  if (integer_bias.bias) {
    c.layer.multiplier = integer_bias.multiplier;
    c.layer.float_bias = zeros.data();
    c.layer.float_output = {};
  }
  const int64_t x_stride = s.depth + s.gap, y_stride = s.outputs + s.gap;
  Guarded<float> x(static_cast<size_t>((s.rows - 1) * x_stride + s.depth));
  Guarded<float> y(static_cast<size_t>((s.rows - 1) * y_stride + s.outputs));
  for (size_t i = 0; i < x.size(); ++i) x[i] = random.real(-1.0F, 3.0F) * static_cast<float>(1 + i % 3);
  fill(x);
  std::vector<float> expected(y.size(), 12345.0F);
  DynamicLinear p{nullptr, s.rows, x_stride, y_stride, by_row, levels, integer_bias};
  reference_dynamic_linear(c.layer, p, expected.data(), x.data());
  for (const Isa isa : supported_isas()) {
    SCOPED_TRACE(std::string(isa_name(isa)) + " M=" + std::to_string(s.rows) + " N=" + std::to_string(s.outputs) +
                 " K=" + std::to_string(s.depth) + " by_row=" + std::to_string(by_row) +
                 " seed=" + std::to_string(test_seed()));
    const Packed packed(c.layer, isa);
    ASSERT_EQ(packed.refused, -1);
    p.packed = &packed_header(packed.data, packed.size, Layer::dynamic_linear, isa);
    const size_t bytes = static_cast<size_t>(dynamic_scratch(s.rows, s.depth));
    std::vector<uint8_t> memory(bytes + 64, 0xEE);
    uint8_t* scratch = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64);
    y.fill(12345.0F);
    dynamic_linear(p, y.data(), x.data(), scratch, threads);
    for (size_t i = 0; i < y.size(); ++i) {
      if (std::isnan(expected[i]) && std::isnan(y[i])) continue;
      ASSERT_EQ(y[i], expected[i]) << "at " << i;
    }
  }
}

void expect_reference(const Shape& s, bool by_row, Random& random, int threads = 1, Levels levels = {}) {
  expect_reference(s, by_row, levels, threads, random, [](const auto&) {});
}

TEST(DynamicLinear, EveryRemainderOfRows) {
  Random random(1);
  for (int64_t rows = 1; rows <= 30; ++rows) expect_reference({rows, 40, 24, rows % 3}, rows % 2, random);
}

TEST(DynamicLinear, EveryRemainderOfColumns) {
  Random random(2);
  for (int64_t n = 1; n <= 100; ++n) expect_reference({5, n, 12, n % 2}, true, random);
}

TEST(DynamicLinear, EveryRemainderOfInputs) {
  Random random(3);
  for (int64_t k = 1; k <= 150; ++k) expect_reference({3, 33, k, k % 4}, k % 2, random);
}

TEST(DynamicLinear, RandomShapesThreadsAndLevels) {
  Random random(4);
  for (int i = 0; i < 40; ++i) {
    const Shape s = {random.integer(1, 60), random.integer(1, 300), random.integer(1, 300), random.integer(0, 9)};
    const Levels levels = {static_cast<int32_t>(random.integer(0, 20)), static_cast<int32_t>(random.integer(100, 255))};
    expect_reference(s, i % 2, random, static_cast<int>(random.integer(1, 2)), levels);
  }
  for (const int64_t rows : {1, 2, 3, 4}) {
    for (const int64_t n : {128, 160, 200, 640}) expect_reference({rows, n, n - 30}, true, random, 2);
  }
  expect_reference({500, 70, 64}, true, random, 2);
  expect_reference({13, 640, 512}, false, random, 2);
}

TEST(DynamicLinear, ZerosOneSignAndExtremes) {
  Random random(5);
  const float values[] = {0.0F, 1e-30F, -1e-30F, 1e-42F, 3e38F, -3e38F, 1.0F, -1.0F};
  for (const float value : values) {
    for (const bool by_row : {false, true}) {
      expect_reference({4, 20, 40}, by_row, {}, 1, random, [&](auto& x) {
        for (size_t i = 0; i < 80; ++i) x[i] = i % 3 ? value : 0.0F;
      });
    }
  }
}

TEST(DynamicLinear, BiasesInIntegers) {
  Random random(10);
  for (int64_t n = 1; n <= 40; ++n) {
    std::vector<float> bias(static_cast<size_t>(n)), multiplier(bias.size());
    for (auto& m : multiplier) m = random.real(1e-4F, 1e-2F);
    for (auto& b : bias) b = random.real(-1.0F, 1.0F) * std::ldexp(1.0F, static_cast<int>(random.integer(-40, 40)));
    const FloatOutput output = n % 2 ? FloatOutput{} : FloatOutput{-50.0F, 70.0F};
    const IntegerBias whole = {bias.data(), multiplier.data(), output};
    expect_reference({7, n, 24, n % 3}, n % 3, {}, 1 + n % 2, random, [](const auto&) {}, whole);
  }
  const float bias[] = {1.0F, -2.5F, 0.0F, -0.0F, 3e38F, 1e-42F},
              multiplier[] = {1e-3F, 0.0F, 0.0F, 1.0F, 1e-30F, 1.0F};
  EXPECT_EQ(reference_integer_bias(1.0F, 0.0F), 1.0F);
  EXPECT_EQ(reference_integer_bias(-2.5F, 0.75F), -2.25F);
  expect_reference({3, 6, 24}, true, {}, 1, random, [](auto& x) { x.fill(0.0F); }, {bias, multiplier, {}});
}

TEST(DynamicLinear, TiesRoundToEven) {
  Random random(6);
  expect_reference({2, 20, 64}, true, {}, 1, random, [](auto& x) {
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 64) * 0.5F - 8.0F;
    x[63] = x[127] = 247.0F;  // a scale of 1
  });
}

TEST(DynamicLinear, RowsWithoutNumbersGiveNaN) {
  Random random(7);
  for (const float odd : {std::nanf(""), -std::nanf(""), std::numeric_limits<float>::infinity(), -HUGE_VALF}) {
    for (size_t at = 0; at < 3 * 71; at += 7) {
      expect_reference({3, 20, 71}, at % 2, {}, 1, random, [&](auto& x) { x[at] = odd; });
    }
  }
}

TEST(DynamicLinear, RefusesAReductionBeyondInt32ForAnyZeroPoint) {
  Random random(8);
  TestLayer c = layer_of({1, 3, 70000}, random);
  for (auto& w : c.weight) w = 0;
  for (size_t k = 0; k < 70000; ++k) c.weight[2 * 70000 + k] = -128;
  EXPECT_EQ(Packed(c.float_weights(), Isa::scalar).refused, 2);
}

TEST(DynamicLinear, TakesItsOwnWeightsOnly) {
  Random random(9);
  TestLayer c(8, 8, random);
  const Packed packed(c.float_weights(), Isa::scalar);
  EXPECT_THROW(packed_header(packed.data, packed.size, Layer::dynamic_linear, Isa::scalar), std::invalid_argument);
}

// Three examples of [C, H, W] whose codes lie, channels last, inside a border of one pixel.
struct Images {
  int64_t c, h, w, x_strides[3];
  int64_t pixels() const { return c * h * w; }
  int64_t bordered() const { return c * (h + 2) * (w + 2); }
  Walk<2> inside() const {
    Walk<2> walk{4, {3, c, h, w}, {{bordered(), 1, (w + 2) * c, c}, {pixels(), 0, 0, 0}}};
    for (int d = 0; d < 3; ++d) walk.stride[1][d + 1] = x_strides[d];
    return walk;
  }
};

void move_dim_of_x(const Walk<2>& from, int d, Walk<1>& to) {
  to.size[d] = from.size[d];
  to.stride[0][d] = from.stride[1][d];
}

void expect_codes(const Images& s, const uint8_t* q, const float* x, const RowTerms& terms, const Levels& levels) {
  for (int64_t i = 0; i < s.h + 2; ++i) {
    for (int64_t j = 0; j < s.w + 2; ++j) {
      const bool outside = i == 0 || j == 0 || i == s.h + 1 || j == s.w + 1;
      for (int64_t k = 0; k < s.c; ++k) {
        const float value =
            outside ? 0.0F : x[k * s.x_strides[0] + (i - 1) * s.x_strides[1] + (j - 1) * s.x_strides[2]];
        const uint8_t expected =
            round_and_saturate(value / terms.scale, {terms.zero_point, levels.quant_min, levels.quant_max});
        ASSERT_EQ(int{q[(i * (s.w + 2) + j) * s.c + k]}, int{expected}) << i << " " << j << " " << k;
      }
    }
  }
}

void expect_images(const Images& s, bool by_example, const Levels& levels, Random& random, float odd) {
  Guarded<float> x(static_cast<size_t>(3 * s.pixels()));
  for (size_t i = 0; i < x.size(); ++i) x[i] = random.real(-1.0F, 3.0F) * static_cast<float>(1 + i % 3);
  if (std::isnan(odd)) x[static_cast<size_t>(s.pixels() + s.pixels() / 2)] = odd;
  const Walk<2> inside = s.inside();
  Walk<1> read{inside.rank, {}, {}}, whole{2, {3, s.bordered()}, {{s.bordered(), 1}}};
  for (int d = 0; d < inside.rank; ++d) move_dim_of_x(inside, d, read);
  for (const Isa isa : supported_isas()) {
    for (const int threads : {1, 2}) {
      RowTerms terms[3];
      Guarded<uint8_t> q(static_cast<size_t>(3 * s.bordered()));
      Guarded<uint8_t> scratch(static_cast<size_t>(example_terms_scratch(3)));
      example_terms(Examples<1>(read), terms, x.data(), scratch.data(), by_example, levels, isa, threads);
      fill_zero_points(Examples<1>(whole), q.data(), terms, threads);
      example_codes(Examples<2>(inside), q.data() + (s.w + 3) * s.c, x.data(), terms, levels, isa, threads);
      for (int64_t n = 0; n < 3; ++n) {
        const float* example = by_example ? x.data() + n * s.pixels() : x.data();
        const RowTerms expected = reference_terms(example, 1, 0, (by_example ? 1 : 3) * s.pixels(), levels);
        ASSERT_EQ(terms[n].zero_point, expected.zero_point);
        if (std::isnan(expected.scale)) {
          ASSERT_TRUE(std::isnan(terms[n].scale));
          continue;
        }
        ASSERT_EQ(terms[n].scale, expected.scale);
        expect_codes(s, q.data() + n * s.bordered(), x.data() + n * s.pixels(), expected, levels);
      }
    }
  }
}

TEST(DynamicImages, InsideABorderOfZeroPoints) {
  Random random(10);
  for (int i = 0; i < 30; ++i) {
    const int64_t c = random.integer(1, 40), h = random.integer(1, 12), w = random.integer(1, 12);
    const Images planes = {c, h, w, {h * w, w, 1}}, last = {c, h, w, {1, w * c, c}};
    const Levels levels = i % 3 ? Levels{} : Levels{3, 200};
    expect_images(i % 2 ? planes : last, i % 4 < 3, levels, random, i % 5 ? 0.0F : std::nanf(""));
  }
}

}  // namespace
}  // namespace fxquant
