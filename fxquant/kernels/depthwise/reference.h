// The truth that every depthwise kernel is held against, bit for bit.
#pragma once
#include "depthwise/depthwise.h"

namespace fxquant {

inline int32_t depthwise_reference_acc(const DepthwiseLayer& layer, const Nhwc<const uint8_t>& x, int64_t n, int64_t oy,
                                       int64_t ox, int64_t c) {
  const DepthwiseGeometry& g = layer.geometry;
  int32_t acc = layer.bias[c];
  for (int64_t i = 0; i < g.kernel_h; ++i) {
    for (int64_t j = 0; j < g.kernel_w; ++j) {
      const int64_t iy = oy * g.stride_h - g.pad_top + i * g.dilation_h;
      const int64_t ix = ox * g.stride_w - g.pad_left + j * g.dilation_w;
      if (iy < 0 || iy >= x.h || ix < 0 || ix >= x.w) continue;
      acc += (x.at(n, iy, ix)[c] - layer.x_zero_point) * layer.weight[(c * g.kernel_h + i) * g.kernel_w + j];
    }
  }
  return acc;
}

inline void depthwise_reference(const DepthwiseLayer& layer, const Nhwc<const uint8_t>& x,
                                const Nhwc<const uint8_t>& residual, const Nhwc<uint8_t>& y) {
  for (int64_t n = 0; n < y.n; ++n) {
    for (int64_t oy = 0; oy < y.h; ++oy) {
      for (int64_t ox = 0; ox < y.w; ++ox) {
        for (int64_t c = 0; c < y.c; ++c) {
          const int32_t acc = depthwise_reference_acc(layer, x, n, oy, ox, c);
          const float term = layer.has_residual ? residual_term(residual.at(n, oy, ox)[c], layer.residual) : 0.0F;
          const uint8_t q = requantize(acc, layer.multiplier[c], term, layer.output);
          y.at(n, oy, ox)[c] = layer.table ? layer.table[q] : q;
        }
      }
    }
  }
}

}  // namespace fxquant
