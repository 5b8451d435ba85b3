// Dense and grouped 2-D convolution, channels last.
//
//   acc[n, oh, ow, o] = bias[o] + sum over ky, kx, i of (x[n, ih, iw, g * I + i] - x_zero_point) * weight[o, i, ky, kx]
//     with I = in_channels / groups, g = o / (out_channels / groups),
//          ih = oh * stride_h - pad_top + ky * dilation_h, iw = ow * stride_w - pad_left + kx * dilation_w,
//     and x = x_zero_point outside the image
//   y = table[ requantize(acc, multiplier[o], residual_term(r[n, oh, ow, o])) ]       (base/requantize.h)
// or y = to_float(acc, 1, multiplier[o], float_bias[o]), see gemm/gemm.h
// or, of a dynamic layer, y = to_float(acc, scale[n], multiplier[o], float_bias[o]) with x_zero_point[n] in acc; such a
// layer has no padding, since nobody knows its zero point beforehand: x comes with a border
//
// Dense 3x3 kernels that slide by one mostly run as winograd/winograd.h says. All others run on the product of
// gemm/gemm.h: an output pixel is a row pointer into x, a kernel position a tap offset. Where
// a tap can fall outside the image, that reads a padded copy of x in scratch, which the caller provides; no copy is
// made if x lies in a buffer with a halo. Weights are packed by pack_product with Layer::conv or Layer::dynamic_conv.
#pragma once
#include <cstdint>

#include "base/tensor.h"
#include "gemm/gemm.h"

namespace fxquant {

struct ConvGeometry {
  int64_t out_channels = 0, kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1;
  int64_t pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0, dilation_h = 1, dilation_w = 1, groups = 1;

  int64_t output_h(int64_t h) const;
  int64_t output_w(int64_t w) const;
};

struct Conv {
  const PackedHeader* packed = nullptr;
  ConvGeometry geometry;
  Nhwc<const uint8_t> x;
  Nhwc<const uint8_t> residual;  // data is null where the layer has none; of a dynamic layer, as of Product
  Nhwc<uint8_t> y;
  int64_t y_stride_c = 4;   // as of Product, and so are the strides of y
  bool x_has_halo = false;  // the pixels around x, as far as the padding reaches, are readable and hold x_zero_point
  Span next;                // as of Product
  int64_t row_begin = 0, row_end = INT64_MAX;  // which rows of y to compute; a part of them only without scratch
  uint8_t* scratch = nullptr;
  int64_t scratch_size = 0;  // in bytes: what conv_scratch_size says for these threads, or for more
};

// Bytes of scratch for a run on at most `threads` threads; 0 if x can be read in place. Pointers are not followed, but
// for `packed`.
int64_t conv_scratch_size(const Conv& conv, int threads);

// Throws std::invalid_argument unless the weights were packed for this geometry and these channels.
void check_conv(const PackedHeader& packed, const ConvGeometry& geometry, int64_t in_channels, bool has_residual);

// Throws as check_conv does.
void run_conv(const Conv& conv, int threads);

// The same on the product, where run_conv may take another way (winograd/winograd.h).
int64_t direct_scratch_size(const Conv& conv);
void run_direct(const Conv& conv, int threads);

}  // namespace fxquant
