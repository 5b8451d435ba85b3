// The truth that every kernel of the family is held against.
#pragma once
#include <algorithm>
#include <cmath>

#include "weight_only/half.h"
#include "weight_only/weight_only.h"

namespace fxquant {

// Weight i of w.
inline float weight_at(const WeightOnlyWeights& w, int64_t i) {
  return w.weight_bytes == 2 ? float_of_half(w.halves[i]) : static_cast<float>(w.weight[i]);
}

inline void reference_weight_only(const WeightOnlyWeights& w, const WeightOnlyLinear& p, float* y, const float* x) {
  const int64_t groups = w.inputs / w.group;
  for (int64_t m = 0; m < p.rows; ++m) {
    for (int64_t n = 0; n < w.outputs; ++n) {
      float total = w.bias[n];
      for (int64_t g = 0; g < groups; ++g) {
        float part = 0.0F;
        for (int64_t k = g * w.group; k < (g + 1) * w.group; ++k) {
          part = std::fma(x[m * p.x_stride + k], weight_at(w, n * w.inputs + k), part);
        }
        total = std::fma(part, w.scale[n * groups + g], total);
      }
      y[m * p.y_stride + n] = std::isnan(total) ? total : std::clamp(total, w.output.low, w.output.high);
    }
  }
}

}  // namespace fxquant
