// The truth that every kernel of the family is held against: one batch, element by element.
#pragma once
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/exponential.h"
#include "base/lanes_scalar.h"
#include "matmul/dither.h"
#include "matmul/matmul.h"

namespace fxquant {

inline void reference_matmul(const Matmul& p, uint8_t* y, const uint8_t* a, const uint8_t* b) {
  for (int64_t m = 0; m < p.rows; ++m) {
    for (int64_t n = 0; n < p.columns; ++n) {
      int32_t acc = 0;
      for (int64_t k = 0; k < p.depth; ++k) {
        acc += (a[m * p.a_row + k] - p.a_zero_point) * (b[k * p.b.row + n * p.b.column] - p.b_zero_point);
      }
      y[m * p.y_row + n] = requantize(acc, p.multiplier, 0.0F, p.output);
    }
  }
}

inline float reference_mask(const Attention& p, const uint8_t* mask, int64_t i, int64_t j) {
  const int64_t at = i * p.mask_strides.row + j * p.mask_strides.column;
  if (p.mask == Mask::bools) return mask[at] != 0 ? 0.0F : -INFINITY;
  const float summand = p.mask == Mask::floats ? reinterpret_cast<const float*>(mask)[at] : 0.0F;
  return summand == -INFINITY ? summand : std::fmax(summand * kLog2E, -FLT_MAX);
}

inline void reference_attention(const Attention& p, uint8_t* y, const uint8_t* q, const uint8_t* k, const uint8_t* v,
                                const uint8_t* mask) {
  std::vector<float> t(static_cast<size_t>(p.keys));
  std::vector<int32_t> probability(static_cast<size_t>(p.keys));
  for (int64_t i = 0; i < p.queries; ++i) {
    float most = -INFINITY;
    int32_t total = 0;
    for (int64_t j = 0; j < p.keys; ++j) {
      int32_t acc = 0;
      for (int64_t d = 0; d < p.depth; ++d) {
        acc += (q[i * p.q_row + d] - p.q_zero_point) * (k[j * p.k.row + d * p.k.column] - p.k_zero_point);
      }
      float& score = t[static_cast<size_t>(j)];
      score = static_cast<float>(acc) * p.score_multiplier;
      if (p.mask != Mask::none) score += reference_mask(p, mask, i, j);
      if (p.causal && j > i) score = -INFINITY;
      most = score > most ? score : most;
    }
    for (int64_t j = 0; j < p.keys; ++j) {
      const float part = power_of_2<ScalarLanes>(t[static_cast<size_t>(j)] - most, kExponential65280);
      total += probability[static_cast<size_t>(j)] = (static_cast<int32_t>(std::lrintf(part)) + dither(j)) / 256;
    }
    const float multiplier = total > 0 ? p.value_multiplier / static_cast<float>(total) : 0.0F;
    for (int64_t e = 0; e < p.width; ++e) {
      int32_t acc = 0;
      for (int64_t j = 0; j < p.keys; ++j) {
        acc += probability[static_cast<size_t>(j)] * (v[j * p.v.row + e * p.v.column] - p.v_zero_point);
      }
      y[i * p.y_row + e] = requantize(acc, multiplier, 0.0F, p.output);
    }
  }
}

}  // namespace fxquant
