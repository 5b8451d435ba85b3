// The truth that every kernel of the family is held against: plain loops over the arithmetic of one lane.
#pragma once
#include <cstdint>
#include <limits>
#include <vector>

#include "floats/arithmetic.h"

namespace fxquant {

inline float reference_gelu(float x) { return gelu_of<ScalarLanes>(x); }
inline float reference_gelu_tanh(float x) { return gelu_tanh_of<ScalarLanes>(x); }
inline float reference_silu(float x) { return silu_of<ScalarLanes>(x); }

// Of `count` values side by side.
inline float reference_sum(const float* x, int64_t count) {
  std::vector<float> partial(kPartials, 0.0F);
  for (int64_t i = 0; i < count; ++i) partial[static_cast<size_t>(i % kPartials)] += x[i];
  for (size_t half = kPartials / 2; half > 0; half /= 2) {
    for (size_t k = 0; k < half; ++k) partial[k] += partial[k + half];
  }
  return partial[0];
}

inline void reference_float_layer_norm(const FloatLayerNorm& p, float* y, const float* x) {
  for (int64_t row = 0; row < p.rows.count; ++row) {
    const float* from = x + row * p.rows.x_stride;
    const auto n = static_cast<float>(p.rows.length);
    const float mean = reference_sum(from, p.rows.length) / n;
    std::vector<float> squares(static_cast<size_t>(p.rows.length));
    for (size_t i = 0; i < squares.size(); ++i) squares[i] = (from[i] - mean) * (from[i] - mean);
    const float inverse = 1.0F / std::sqrt(reference_sum(squares.data(), p.rows.length) / n + p.eps);
    for (int64_t i = 0; i < p.rows.length; ++i) {
      y[row * p.rows.y_stride + i] = (from[i] - mean) * inverse * p.weight[i] + p.bias[i];
    }
  }
}

inline void reference_float_rms_norm(const FloatLayerNorm& p, float* y, const float* x) {
  for (int64_t row = 0; row < p.rows.count; ++row) {
    const float* from = x + row * p.rows.x_stride;
    std::vector<float> squares(static_cast<size_t>(p.rows.length));
    for (int64_t i = 0; i < p.rows.length; ++i) squares[static_cast<size_t>(i)] = from[i] * from[i];
    const float mean = reference_sum(squares.data(), p.rows.length) / static_cast<float>(p.rows.length);
    const float inverse = 1.0F / std::sqrt(mean + p.eps);
    for (int64_t i = 0; i < p.rows.length; ++i) y[row * p.rows.y_stride + i] = from[i] * inverse * p.weight[i];
  }
}

inline float reference_float_mask(const FloatAttention& p, const uint8_t* mask, int64_t i, int64_t j) {
  const int64_t at = i * p.mask_strides.row + j * p.mask_strides.column;
  if (p.mask == Mask::none) return 0.0F;
  if (p.mask == Mask::floats) return reinterpret_cast<const float*>(mask)[at];
  return mask[at] != 0 ? 0.0F : -std::numeric_limits<float>::infinity();
}

// One batch.
inline void reference_float_attention(const FloatAttention& p, const FloatAttentionOperands& o) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::vector<float> s(static_cast<size_t>(p.keys));
  for (int64_t i = 0; i < p.queries; ++i) {
    float most = -kInfinity;
    for (int64_t j = 0; j < p.keys; ++j) {
      float product = 0.0F;
      for (int64_t d = 0; d < p.depth; ++d) product += o.q[i * p.q_row + d] * o.k[j * p.k.row + d * p.k.column];
      const float score = product * p.scale + reference_float_mask(p, o.mask, i, j);
      s[static_cast<size_t>(j)] = p.causal && j > i ? -kInfinity : score;
      most = s[static_cast<size_t>(j)] > most ? s[static_cast<size_t>(j)] : most;
    }
    if (most == -kInfinity) most = 0.0F;
    for (float& each : s) each = float_exp2<ScalarLanes>((each - most) * kLog2OfE);
    const float sum = reference_sum(s.data(), p.keys), share = sum == 0.0F ? 0.0F : 1.0F / sum;
    for (int64_t e = 0; e < p.width; ++e) {
      float product = 0.0F;
      for (int64_t j = 0; j < p.keys; ++j) {
        product += s[static_cast<size_t>(j)] * o.v[j * p.v.row + e * p.v.column];
      }
      o.y[i * p.y_row + e] = product * share;
    }
  }
}

}  // namespace fxquant
