#include "base/test.h"

#include <cmath>
#include <limits>
#include <string>

#include "floats/floats.h"
#include "floats/reference.h"

namespace fxquant {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();
constexpr float kGap = 12345.0F;

std::string named(Isa isa, const std::string& what) {
  return std::string(isa_name(isa)) + " " + what + " seed=" + std::to_string(test_seed());
}

// Bit for bit, but that a NaN is any NaN.
template <class Actual, class Expected>
void expect_same(Actual& y, const Expected& expected) {
  for (size_t i = 0; i < y.size(); ++i) {
    if (std::isnan(expected[i]) && std::isnan(y[i])) continue;
    ASSERT_EQ(y[i], expected[i]) << "at " << i;
  }
}

void randomize(Guarded<float>& x, Random& random, float width = 3.0F) {
  for (size_t i = 0; i < x.size(); ++i) x[i] = random.real(-width, width);
}

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
    ASSERT_NEAR(reference_gelu(x), exact, 5e-7 * std::max(1.0F, std::abs(x))) << x;
  }
  EXPECT_EQ(reference_gelu(kInfinity), kInfinity);
  EXPECT_EQ(reference_gelu(-kInfinity), 0.0F);
  EXPECT_TRUE(std::isnan(reference_gelu(kNan)));
}

TEST(FloatGelu, EqualsTheReference) {
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
        expected[static_cast<size_t>(r * rows.y_stride + i)] =
            reference_gelu(x[static_cast<size_t>(r * rows.x_stride + i)]);
      }
    }
    for (const Isa isa : supported_isas()) {
      SCOPED_TRACE(named(isa, std::to_string(length)));
      y.fill(kGap);
      float_gelu(rows, y.data(), x.data(), isa, 2);
      expect_same(y, expected);
    }
  }
}

TEST(FloatAdd, EqualsTheReference) {
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
              a[static_cast<size_t>(r * length + i)] + b[static_cast<size_t>(i * step)];
        }
      }
      for (const Isa isa : supported_isas()) {
        SCOPED_TRACE(named(isa, std::to_string(length)));
        y.fill(kGap);
        float_add(rows, y.data(), a.data(), b.data(), isa, 2);
        expect_same(y, expected);
      }
    }
  }
}

TEST(FloatLayerNorm, EqualsTheReference) {
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
    reference_float_layer_norm(p, expected.data(), x.data());
    for (const Isa isa : supported_isas()) {
      SCOPED_TRACE(named(isa, std::to_string(length)));
      y.fill(kGap);
      float_layer_norm(p, y.data(), x.data(), isa, 2);
      expect_same(y, expected);
    }
  }
}

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

struct AttentionShape {
  int64_t batches, queries, keys, depth, width;
  Mask mask = Mask::none;
  bool causal = false, column_apart = false;
};

FloatAttention attention_of(const AttentionShape& s) {
  FloatAttention p;
  p.batches.rank = 1;
  p.batches.size[0] = p.batches.count = s.batches;
  p.queries = s.queries;
  p.keys = s.keys;
  p.depth = s.depth;
  p.width = s.width;
  p.y_row = s.width + 1;
  p.q_row = s.depth + 2;
  p.k = s.column_apart ? Matrix{1, s.keys} : Matrix{s.depth, 1};
  p.v = s.column_apart ? Matrix{1, s.keys} : Matrix{s.width, 1};
  p.mask_strides = {s.keys, 1};
  const int64_t distances[5] = {s.queries * p.y_row, s.queries * p.q_row, s.keys * s.depth, s.keys * s.width, 0};
  for (int t = 0; t < 5; ++t) p.batches.stride[t][0] = distances[t];
  p.mask = s.mask;
  p.causal = s.causal;
  p.scale = 0.37F;
  return p;
}

void expect_attention(const AttentionShape& s, Random& random, bool odd = false) {
  const FloatAttention p = attention_of(s);
  Guarded<float> q(static_cast<size_t>(s.batches * s.queries * p.q_row)),
      k(static_cast<size_t>(s.batches * s.keys * s.depth));
  Guarded<float> v(static_cast<size_t>(s.batches * s.keys * s.width)),
      y(static_cast<size_t>(s.batches * s.queries * p.y_row));
  Guarded<float> floats(static_cast<size_t>(s.queries * s.keys));
  Guarded<uint8_t> bools(static_cast<size_t>(s.queries * s.keys));
  for (auto* each : {&q, &k, &v, &floats}) randomize(*each, random);
  for (size_t i = 0; i < bools.size(); ++i) bools[i] = random.integer(0, 2) > 0;
  for (int64_t j = 0; j < s.keys; ++j) bools[static_cast<size_t>(j)] = 0;  // of row 0 no key is left
  floats[0] = -kInfinity;
  floats[floats.size() - 1] = -std::numeric_limits<float>::max();
  if (odd) {
    q[0] = kNan;
    k[k.size() - 1] = kInfinity;
  }
  const uint8_t* mask = s.mask == Mask::bools ? bools.data() : reinterpret_cast<const uint8_t*>(floats.data());
  std::vector<float> expected(y.size(), kGap);
  for (int64_t b = 0; b < s.batches; ++b) {
    const auto& stride = p.batches.stride;
    reference_float_attention(p, {expected.data() + b * stride[0][0], q.data() + b * stride[1][0],
                                  k.data() + b * stride[2][0], v.data() + b * stride[3][0], mask});
  }
  for (const Isa isa : supported_isas()) {
    for (const int threads : {1, 2}) {
      SCOPED_TRACE(named(isa, std::to_string(s.queries) + "x" + std::to_string(s.keys) + " depth " +
                                  std::to_string(s.depth) + " width " + std::to_string(s.width)));
      const auto bytes = static_cast<size_t>(float_attention_scratch(p, isa));
      std::vector<uint8_t> memory(bytes * 2 + 64, 0xEE);
      uint8_t* scratch = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64);
      y.fill(kGap);
      float_attention(p, {y.data(), q.data(), k.data(), v.data(), mask}, scratch, isa, threads);
      expect_same(y, expected);
    }
  }
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
