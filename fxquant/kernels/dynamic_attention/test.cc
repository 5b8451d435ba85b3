#include "dynamic_attention/reference.h"
#include "floats/attention_test.h"

namespace fxquant {
namespace {

void expect_dynamic(const AttentionShape& s, Random& random, bool odd = false) {
  expect_attention({reference_dynamic_attention, dynamic_attention_scratch, dynamic_attention}, s, random, odd);
}

TEST(DynamicAttention, EqualsTheReference) {
  Random random(1);
  for (const Mask mask : {Mask::none, Mask::floats, Mask::bools}) {
    for (const bool causal : {false, true}) {
      for (const bool apart : {false, true}) {
        expect_dynamic({2, 9, 33, 8, 5, mask, causal, apart}, random);
        expect_dynamic({3, 16, 16, 32, 32, mask, causal, apart}, random);
        expect_dynamic({1, 1, 1, 1, 1, mask, causal, apart}, random);
        expect_dynamic({1, 5, 70, 3, 40, mask, causal, apart}, random);
      }
    }
  }
}

TEST(DynamicAttention, AMaskForAllQueries) {
  Random random(6);
  for (const int64_t left : {0, 1, 69, 70})
    expect_dynamic({2, 19, 70, 32, 33, Mask::bools, false, false, left}, random);
}

TEST(DynamicAttention, AnySizes) {
  Random random(2);
  for (int i = 0; i < 100; ++i) {
    const AttentionShape s = {random.integer(1, 3),     random.integer(1, 40), random.integer(1, 90),
                              random.integer(1, 70),    random.integer(1, 70), Mask::none,
                              random.integer(0, 1) == 0};
    expect_dynamic(s, random);
  }
}

TEST(DynamicAttention, NanAndInfinityMakeTheirBatchNan) {
  Random random(3);
  expect_dynamic({2, 9, 33, 8, 5}, random, true);
}

TEST(DynamicAttention, BlocksOfRows) {
  Random random(4);
  expect_dynamic({1, 200, 130, 16, 16, Mask::floats}, random);
}

TEST(DynamicAttention, TinyAndHugeNumbers) {
  FloatAttention p = attention_of({1, 3, 5, 4, 4});
  for (const float size : {0.0F, 1e-42F, 1e-20F, 1e18F, 3e38F}) {
    Random random(5);
    Guarded<float> q(static_cast<size_t>(p.queries * p.q_row)), k(20), v(20), y(static_cast<size_t>(3 * p.y_row));
    for (auto* each : {&q, &k, &v}) randomize(*each, random, 1.0F);
    for (auto* each : {&q, &k, &v}) {
      for (size_t i = 0; i < each->size(); ++i) (*each)[i] *= size;
    }
    std::vector<float> expected(y.size(), kGap);
    reference_dynamic_attention(p, {expected.data(), q.data(), k.data(), v.data(), nullptr});
    for (const Isa isa : supported_isas()) {
      SCOPED_TRACE(named(isa, std::to_string(size)));
      Guarded<uint8_t> scratch(static_cast<size_t>(dynamic_attention_scratch(p, isa)));
      y.fill(kGap);
      dynamic_attention(p, {y.data(), q.data(), k.data(), v.data(), nullptr}, scratch.data(), isa, 1);
      expect_same(y, expected);
    }
  }
}

}  // namespace
}  // namespace fxquant
