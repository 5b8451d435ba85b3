// Convolution as plain loops: what every kernel agrees with, bit for bit.
#pragma once
#include <cstdint>

#include "conv/conv.h"
#include "gemm/reference.h"

namespace fxquant {

inline int32_t reference_conv_acc(const LayerWeights& layer, const ConvGeometry& g, const Nhwc<const uint8_t>& x,
                                  int64_t n, int64_t oh, int64_t ow, int64_t o) {
  const int64_t inputs = x.c / g.groups, group = o / (g.out_channels / g.groups);
  int32_t acc = layer.bias ? layer.bias[o] : 0;
  for (int64_t ky = 0; ky < g.kernel_h; ++ky) {
    for (int64_t kx = 0; kx < g.kernel_w; ++kx) {
      const int64_t ih = oh * g.stride_h - g.pad_top + ky * g.dilation_h;
      const int64_t iw = ow * g.stride_w - g.pad_left + kx * g.dilation_w;
      if (ih < 0 || ih >= x.h || iw < 0 || iw >= x.w) continue;
      for (int64_t i = 0; i < inputs; ++i) {
        const int8_t w = layer.weight[((o * inputs + i) * g.kernel_h + ky) * g.kernel_w + kx];
        acc += (x.at(n, ih, iw)[group * inputs + i] - layer.x_zero_point) * w;
      }
    }
  }
  return acc;
}

inline void reference_conv(const LayerWeights& layer, const ConvGeometry& g, const Nhwc<const uint8_t>& x,
                           const Nhwc<const uint8_t>& residual, const Nhwc<uint8_t>& y, int64_t y_stride_c = 4) {
  for (int64_t n = 0; n < y.n; ++n) {
    for (int64_t oh = 0; oh < y.h; ++oh) {
      for (int64_t ow = 0; ow < y.w; ++ow) {
        for (int64_t o = 0; o < y.c; ++o) {
          const int32_t acc = reference_conv_acc(layer, g, x, n, oh, ow, o);
          if (layer.gives_floats) {
            const float value = to_float(acc, 1.0F, layer.multiplier[o], layer.float_bias[o], layer.float_output);
            store_float(y.at(n, oh, ow) + o * y_stride_c, 0, value);
            continue;
          }
          const float term = residual.data ? residual_term(residual.at(n, oh, ow)[o], layer.residual) : 0.0F;
          const uint8_t q = requantize(acc, layer.multiplier[o], term, layer.output);
          y.at(n, oh, ow)[o] = layer.table ? layer.table[q] : q;
        }
      }
    }
  }
}

}  // namespace fxquant
