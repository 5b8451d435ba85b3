// Linear as plain loops: what every kernel agrees with, bit for bit.
#pragma once
#include <cstdint>
#include <cstring>

#include "gemm/gemm.h"

namespace fxquant {

// Output number `index` of the floats at `to`, which need not be aligned.
inline void store_float(uint8_t* to, int64_t index, float value) { std::memcpy(to + 4 * index, &value, 4); }

// y[m, n] of gemm.h for one tap: weight is [out_channels][in_channels]. residual (or null) has the stride of y, in
// bytes.
inline void reference_linear(const LayerWeights& layer, const uint8_t* x, int64_t rows, int64_t x_stride,
                             const uint8_t* residual, uint8_t* y, int64_t y_stride) {
  for (int64_t m = 0; m < rows; ++m) {
    for (int64_t n = 0; n < layer.out_channels; ++n) {
      int32_t acc = layer.bias ? layer.bias[n] : 0;
      for (int64_t k = 0; k < layer.in_channels; ++k) {
        acc += (x[m * x_stride + k] - layer.x_zero_point) * layer.weight[n * layer.in_channels + k];
      }
      if (layer.gives_floats) {
        store_float(y + m * y_stride, n,
                    to_float(acc, 1.0F, layer.multiplier[n], layer.float_bias[n], layer.float_output));
        continue;
      }
      const float term = residual ? residual_term(residual[m * y_stride + n], layer.residual) : 0.0F;
      const uint8_t q = requantize(acc, layer.multiplier[n], term, layer.output);
      y[m * y_stride + n] = layer.table ? layer.table[q] : q;
    }
  }
}

}  // namespace fxquant
