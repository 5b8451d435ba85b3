// What tests of floats share, and a test of any attention of floats against its reference.
#pragma once
#include <cmath>
#include <limits>
#include <string>

#include "base/test.h"
#include "floats/floats.h"

namespace fxquant {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();
constexpr float kGap = 12345.0F;

inline std::string named(Isa isa, const std::string& what) {
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

inline void randomize(Guarded<float>& x, Random& random, float width = 3.0F) {
  for (size_t i = 0; i < x.size(); ++i) x[i] = random.real(-width, width);
}

struct AttentionShape {
  int64_t batches, queries, keys, depth, width;
  Mask mask = Mask::none;
  bool causal = false, column_apart = false;
  int64_t shared = -1;  // of a mask of bools that is one for all queries: how many keys it leaves
};

inline FloatAttention attention_of(const AttentionShape& s) {
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
  p.mask_strides = {s.shared < 0 ? s.keys : 0, 1};
  const int64_t distances[5] = {s.queries * p.y_row, s.queries * p.q_row, s.keys * s.depth, s.keys * s.width, 0};
  for (int t = 0; t < 5; ++t) p.batches.stride[t][0] = distances[t];
  p.mask = s.mask;
  p.causal = s.causal;
  p.scale = 0.37F;
  return p;
}

// A kernel, and its truth for one batch.
struct AttentionKernel {
  void (*reference)(const FloatAttention&, const FloatAttentionOperands&);
  int64_t (*scratch)(const FloatAttention&, Isa);
  void (*run)(const FloatAttention&, const FloatAttentionOperands&, uint8_t*, Isa, int);
};

inline void expect_attention(const AttentionKernel& kernel, const AttentionShape& s, Random& random, bool odd = false) {
  const FloatAttention p = attention_of(s);
  Guarded<float> q(static_cast<size_t>(s.batches * s.queries * p.q_row)),
      k(static_cast<size_t>(s.batches * s.keys * s.depth));
  Guarded<float> v(static_cast<size_t>(s.batches * s.keys * s.width)),
      y(static_cast<size_t>(s.batches * s.queries * p.y_row));
  Guarded<float> floats(static_cast<size_t>(s.queries * s.keys));
  Guarded<uint8_t> bools(static_cast<size_t>(s.queries * s.keys));
  for (auto* each : {&q, &k, &v, &floats}) randomize(*each, random);
  for (size_t i = 0; i < bools.size(); ++i) bools[i] = random.integer(0, 2) > 0;
  for (int64_t j = 0; j < s.keys; ++j) bools[static_cast<size_t>(j)] = j < s.shared;  // if not shared, row 0 has none
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
    kernel.reference(p, {expected.data() + b * stride[0][0], q.data() + b * stride[1][0], k.data() + b * stride[2][0],
                         v.data() + b * stride[3][0], mask});
  }
  for (const Isa isa : supported_isas()) {
    for (const int threads : {1, 2}) {
      SCOPED_TRACE(named(isa, std::to_string(s.queries) + "x" + std::to_string(s.keys) + " depth " +
                                  std::to_string(s.depth) + " width " + std::to_string(s.width)));
      const auto bytes = static_cast<size_t>(kernel.scratch(p, isa));
      std::vector<uint8_t> memory(bytes * 2 + 64, 0xEE);
      uint8_t* scratch = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64);
      y.fill(kGap);
      kernel.run(p, {y.data(), q.data(), k.data(), v.data(), mask}, scratch, isa, threads);
      expect_same(y, expected);
    }
  }
}

}  // namespace
}  // namespace fxquant
