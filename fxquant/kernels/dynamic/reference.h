// The truth that every kernel of the family is held against.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "dynamic/dynamic.h"

namespace fxquant {

inline RowTerms reference_terms(const float* x, int64_t rows, int64_t stride, int64_t count, const Levels& levels) {
  double low = 0.0, high = 0.0;
  for (int64_t m = 0; m < rows; ++m) {
    for (int64_t k = 0; k < count; ++k) {
      const double value = x[m * stride + k];
      if (!std::isfinite(value)) return {levels.quant_min, std::nanf("")};
      low = std::min(low, value);
      high = std::max(high, value);
    }
  }
  const double s = std::max((high - low) / (levels.quant_max - levels.quant_min), static_cast<double>(kSmallestScale));
  const double z = std::nearbyint(levels.quant_min - low / s);
  return {std::clamp(static_cast<int32_t>(z), levels.quant_min, levels.quant_max), static_cast<float>(s)};
}

inline uint8_t reference_code(float x, const RowTerms& terms, const Levels& levels) {
  return round_and_saturate(x * (1.0F / terms.scale), {terms.zero_point, levels.quant_min, levels.quant_max});
}

// `bias` as an int32 of as many steps, `step` being that of the sums.
inline float reference_integer_bias(float bias, float step) {
  step = std::max({step, std::fabs(bias) * 0x1p-30F, kSmallestScale});
  return std::rint(bias / step) * step;
}

// `layer` has float outputs; y has row strides in elements.
inline void reference_dynamic_linear(const LayerWeights& layer, const DynamicLinear& p, float* y, const float* x) {
  const int64_t depth = layer.in_channels;
  const RowTerms all = reference_terms(x, p.rows, p.x_stride, depth, p.levels);
  std::vector<uint8_t> q(static_cast<size_t>(depth));
  for (int64_t m = 0; m < p.rows; ++m) {
    const float* row = x + m * p.x_stride;
    const RowTerms terms = p.by_row ? reference_terms(row, 1, 0, depth, p.levels) : all;
    for (int64_t k = 0; k < depth; ++k) q[static_cast<size_t>(k)] = reference_code(row[k], terms, p.levels);
    for (int64_t n = 0; n < layer.out_channels; ++n) {
      int32_t acc = 0;
      for (int64_t k = 0; k < depth; ++k) {
        acc += (q[static_cast<size_t>(k)] - terms.zero_point) * layer.weight[n * depth + k];
      }
      const IntegerBias& whole = p.integer_bias;
      const float bias =
          whole.bias ? reference_integer_bias(whole.bias[n], terms.scale * whole.multiplier[n]) : layer.float_bias[n];
      const FloatOutput& output = whole.bias ? whole.output : layer.float_output;
      y[m * p.y_stride + n] = to_float(acc, terms.scale, layer.multiplier[n], bias, output);
    }
  }
}

}  // namespace fxquant
