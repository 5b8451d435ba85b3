#include "floats/attention_test.h"
#include "floats/reference.h"

namespace fxquant {
namespace {

TEST(FloatExp2, AgreesWithTheLibrary) {
  for (float t = 0.0F; t > -99.0F; t -= 0.0137F) {
    const double exact = std::exp2(static_cast<double>(t));
    ASSERT_NEAR(float_exp2<ScalarLanes>(t), exact, 3e-7 * exact + 0x1p-100) << t;
  }
  EXPECT_EQ(float_exp2<ScalarLanes>(0.0F), 1.0F);
  EXPECT_EQ(float_exp2<ScalarLanes>(-kInfinity), 0.0F);
  EXPECT_TRUE(std::isnan(float_exp2<ScalarLanes>(kNan)));
}

TEST(FloatGelu, AgreesWithTheLibrary) {
  for (float x = -40.0F; x < 40.0F; x += 0.0037F) {
    const double exact = 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    ASSERT_NEAR(reference_gelu(x), exact, 9e-7 + 1e-7 * std::abs(x)) << x;
  }
  EXPECT_EQ(reference_gelu(kInfinity), kInfinity);
  EXPECT_EQ(reference_gelu(-kInfinity), 0.0F);
  EXPECT_TRUE(std::isnan(reference_gelu(kNan)));
}

TEST(FloatGeluTanh, AgreesWithTheLibrary) {
  for (float x = -8.0F; x < 8.0F; x += 0.00037F) {
    const double z = x, u = std::sqrt(2.0 / std::acos(-1.0)) * (z + 0.044715 * z * z * z);
    const double exact = z / (1.0 + std::exp(-2.0 * u)), share = 1e-7 * (3.0 + 4.0 * std::abs(u));
    ASSERT_NEAR(reference_gelu_tanh(x), exact, share * std::abs(exact) + 1e-27) << x;
  }
  for (const float x : {1e30F, kInfinity}) EXPECT_EQ(reference_gelu_tanh(x), x);
  EXPECT_EQ(reference_gelu_tanh(-1e30F), 0.0F);
  EXPECT_TRUE(std::isnan(reference_gelu_tanh(-kInfinity)));  // as torch has it
  EXPECT_TRUE(std::isnan(reference_gelu_tanh(kNan)));
}

TEST(FloatSilu, AgreesWithTheLibrary) {
  for (float x = -120.0F; x < 120.0F; x += 0.0037F) {
    const double exact = x / (1.0 + std::exp(-static_cast<double>(x)));
    ASSERT_NEAR(reference_silu(x), exact, 1e-7 * (3 + std::abs(x)) * std::abs(exact) + 1e-27) << x;
  }
  EXPECT_EQ(reference_silu(kInfinity), kInfinity);
  EXPECT_TRUE(std::isnan(reference_silu(-kInfinity)));  // as torch has it
  EXPECT_TRUE(std::isnan(reference_silu(kNan)));
}

TEST(FloatEmbedding, RowsOfATable) {
  Guarded<float> table(15), y(20);
  Guarded<int64_t> index(4);
  for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<float>(i);
  const FloatEmbedding p = {4, 5, 3};
  for (const int64_t odd : {2, 3, -1}) {
    index[0] = 2, index[1] = 0, index[2] = odd, index[3] = 1;
    y.fill(kGap);
    EXPECT_EQ(float_embedding(p, y.data(), index.data(), table.data(), 0, 3), odd == 2);
    for (int64_t i = 0; i < 20; ++i) {
      const int64_t row = i / 5, of = row < 2 ? index[static_cast<size_t>(row)] : odd == 2 ? 2 : 0;
      EXPECT_EQ(y[static_cast<size_t>(i)], row == 3 ? kGap : static_cast<float>(of * 5 + i % 5));
    }
  }
}

template <class Kernel, class Reference>
void expect_function(const Kernel& kernel, const Reference& reference) {
  Random random(1);
  for (const int64_t length : {1, 3, 8, 17, 64, 100}) {
    const FloatRows rows = {3, length, length + 5, length + 2};
    Guarded<float> x(static_cast<size_t>(2 * rows.x_stride + length)),
        y(static_cast<size_t>(2 * rows.y_stride + length));
    randomize(x, random, 8.0F);
    x[0] = kNan;
    x[x.size() - 1] = -kInfinity;
    std::vector<float> expected(y.size(), kGap);
    for (int64_t r = 0; r < 3; ++r) {
      for (int64_t i = 0; i < length; ++i) {
        expected[static_cast<size_t>(r * rows.y_stride + i)] = reference(x[static_cast<size_t>(r * rows.x_stride + i)]);
      }
    }
    for (const Isa isa : supported_isas()) {
      SCOPED_TRACE(named(isa, std::to_string(length)));
      y.fill(kGap);
      kernel(rows, y.data(), x.data(), isa, 2);
      expect_same(y, expected);
    }
  }
}

TEST(FloatGelu, EqualsTheReference) { expect_function(float_gelu, reference_gelu); }
TEST(FloatGeluTanh, EqualsTheReference) { expect_function(float_gelu_tanh, reference_gelu_tanh); }
TEST(FloatSilu, EqualsTheReference) { expect_function(float_silu, reference_silu); }

template <class Kernel, class Op>
void expect_pairs(const Kernel& kernel, const Op& op) {
  Random random(2);
  for (const int64_t length : {1, 5, 16, 33}) {
    for (const int64_t step : {1, 0}) {  // 0: b broadcasts along rows
      Rows<3> rows;
      rows.rank = 1;
      rows.size[0] = rows.count = 4;
      rows.length = length;
      rows.step[0] = rows.step[1] = 1;
      rows.step[2] = step;
      rows.stride[0][0] = length + 3;
      rows.stride[1][0] = length;
      rows.stride[2][0] = 0;
      Guarded<float> a(static_cast<size_t>(4 * length)), b(static_cast<size_t>(length));
      Guarded<float> y(static_cast<size_t>(3 * (length + 3) + length));
      randomize(a, random);
      randomize(b, random);
      a[0] = kNan;
      std::vector<float> expected(y.size(), kGap);
      for (int64_t r = 0; r < 4; ++r) {
        for (int64_t i = 0; i < length; ++i) {
          expected[static_cast<size_t>(r * (length + 3) + i)] =
              op(a[static_cast<size_t>(r * length + i)], b[static_cast<size_t>(i * step)]);
        }
      }
      for (const Isa isa : supported_isas()) {
        SCOPED_TRACE(named(isa, std::to_string(length)));
        y.fill(kGap);
        kernel(rows, y.data(), a.data(), b.data(), isa, 2);
        expect_same(y, expected);
      }
    }
  }
}

TEST(FloatAdd, EqualsTheReference) { expect_pairs(float_add, std::plus<float>()); }
TEST(FloatMul, EqualsTheReference) { expect_pairs(float_mul, std::multiplies<float>()); }

template <class Kernel, class Reference>
void expect_norm(const Kernel& kernel, const Reference& reference) {
  Random random(3);
  for (const int64_t length : {1, 7, 16, 31, 32, 33, 100, 384}) {
    Guarded<float> weight(static_cast<size_t>(length)), bias(static_cast<size_t>(length));
    randomize(weight, random);
    randomize(bias, random);
    const FloatLayerNorm p = {{5, length, length + 1, length + 4}, weight.data(), bias.data(), 1e-5F};
    Guarded<float> x(static_cast<size_t>(4 * p.rows.x_stride + length)),
        y(static_cast<size_t>(4 * p.rows.y_stride + length));
    randomize(x, random);
    x[static_cast<size_t>(p.rows.x_stride)] = kNan;
    std::vector<float> expected(y.size(), kGap);
    reference(p, expected.data(), x.data());
    for (const Isa isa : supported_isas()) {
      SCOPED_TRACE(named(isa, std::to_string(length)));
      y.fill(kGap);
      kernel(p, y.data(), x.data(), isa, 2);
      expect_same(y, expected);
    }
  }
}

TEST(FloatLayerNorm, EqualsTheReference) { expect_norm(float_layer_norm, reference_float_layer_norm); }
TEST(FloatRmsNorm, EqualsTheReference) { expect_norm(float_rms_norm, reference_float_rms_norm); }

TEST(FloatLayerNorm, MayOverwriteItsInput) {
  Random random(4);
  Guarded<float> weight(40), bias(40), x(120);
  for (auto* each : {&weight, &bias, &x}) randomize(*each, random);
  const FloatLayerNorm p = {{3, 40, 40, 40}, weight.data(), bias.data(), 1e-5F};
  std::vector<float> expected(120);
  reference_float_layer_norm(p, expected.data(), x.data());
  const std::vector<float> kept(x.data(), x.data() + 120);
  for (const Isa isa : supported_isas()) {
    std::copy(kept.begin(), kept.end(), x.data());
    float_layer_norm(p, x.data(), x.data(), isa, 1);
    expect_same(x, expected);
  }
}

void expect_attention(const AttentionShape& s, Random& random, bool odd = false) {
  expect_attention({reference_float_attention, float_attention_scratch, float_attention}, s, random, odd);
}

TEST(FloatAttention, EqualsTheReference) {
  Random random(5);
  for (const Mask mask : {Mask::none, Mask::floats, Mask::bools}) {
    for (const bool causal : {false, true}) {
      for (const bool apart : {false, true}) {
        expect_attention({2, 9, 33, 8, 5, mask, causal, apart}, random);
        expect_attention({3, 16, 16, 32, 32, mask, causal, apart}, random);
        expect_attention({1, 1, 1, 1, 1, mask, causal, apart}, random);
        expect_attention({1, 5, 70, 3, 40, mask, causal, apart}, random);
      }
    }
  }
}

TEST(FloatAttention, HandsOnNanAndInfinity) {
  Random random(6);
  expect_attention({2, 9, 33, 8, 5}, random, true);
}

TEST(FloatAttention, BlocksOfRows) {
  Random random(7);
  expect_attention({1, 200, 130, 16, 16, Mask::floats}, random);
}

}  // namespace
}  // namespace fxquant
