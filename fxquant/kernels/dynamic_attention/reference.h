// The truth that every kernel of the family is held against: one batch, element by element.
#pragma once
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "base/exponential.h"
#include "base/lanes_scalar.h"
#include "dynamic/dynamic.h"
#include "dynamic_attention/dynamic_attention.h"
#include "matmul/dither.h"

namespace fxquant {

// The scale of x(0), x(1), ...
template <class Element>
float reference_scale(int64_t count, const Element& x) {
  float most = 0.0F;
  for (int64_t i = 0; i < count; ++i) {
    if (!std::isfinite(x(i))) return std::numeric_limits<float>::quiet_NaN();
    most = std::max(most, std::abs(x(i)));
  }
  return std::max(most / 127.0F, kSmallestScale);
}

inline int32_t reference_code(float x, float scale) {
  return static_cast<int32_t>(round_and_saturate(x * (1.0F / scale), {0x80, 1, 255})) - 128;
}

inline float reference_summand(const FloatAttention& p, const uint8_t* mask, int64_t i, int64_t j) {
  const int64_t at = i * p.mask_strides.row + j * p.mask_strides.column;
  if (p.causal && j > i) return -INFINITY;
  if (p.mask == Mask::bools) return mask[at] != 0 ? 0.0F : -INFINITY;
  const float summand = p.mask == Mask::floats ? reinterpret_cast<const float*>(mask)[at] : 0.0F;
  return summand == -INFINITY ? summand : std::fmax(summand * kLog2E, -FLT_MAX);
}

inline void reference_dynamic_attention(const FloatAttention& p, const FloatAttentionOperands& o) {
  const auto q = [&](int64_t i, int64_t d) { return o.q[i * p.q_row + d]; };
  const auto k = [&](int64_t j, int64_t d) { return o.k[j * p.k.row + d * p.k.column]; };
  const auto v = [&](int64_t j, int64_t e) { return o.v[j * p.v.row + e * p.v.column]; };
  const float s_q = reference_scale(p.queries * p.depth, [&](int64_t n) { return q(n / p.depth, n % p.depth); });
  const float s_k = reference_scale(p.keys * p.depth, [&](int64_t n) { return k(n / p.depth, n % p.depth); });
  const float multiplier = s_q * s_k * p.scale * kLog2E;
  std::vector<float> t(static_cast<size_t>(p.keys));
  std::vector<int32_t> probability(t.size());
  for (int64_t i = 0; i < p.queries; ++i) {
    float most = -INFINITY;
    for (int64_t j = 0; j < p.keys; ++j) {
      int32_t acc = 0;
      for (int64_t d = 0; d < p.depth; ++d) acc += reference_code(q(i, d), s_q) * reference_code(k(j, d), s_k);
      float& score = t[static_cast<size_t>(j)];
      score = static_cast<float>(acc) * multiplier + reference_summand(p, o.mask, i, j);
      most = score > most ? score : most;
    }
    int32_t total = 0;
    for (size_t j = 0; j < t.size(); ++j) {
      const auto part = std::lrintf(power_of_2<ScalarLanes>(t[j] - most, kExponential65280));
      total += probability[j] = (static_cast<int32_t>(part) + dither(static_cast<int64_t>(j))) / 256;
    }
    const float share = std::isnan(s_q + s_k) ? s_q + s_k : total > 0 ? 1.0F / static_cast<float>(total) : 0.0F;
    for (int64_t e = 0; e < p.width; ++e) {
      const float s_v = reference_scale(p.keys, [&](int64_t j) { return v(j, e); });
      int32_t acc = 0;
      for (int64_t j = 0; j < p.keys; ++j) acc += probability[static_cast<size_t>(j)] * reference_code(v(j, e), s_v);
      o.y[i * p.y_row + e] = static_cast<float>(acc) * share * s_v;
    }
  }
}

}  // namespace fxquant
