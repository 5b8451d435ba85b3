// Depthwise convolution of uint8 images with int8 filters, channels last: every channel has a filter of its own.
//
//   acc[n, oy, ox, c] = bias[c] + sum over i < kernel_h, j < kernel_w of weight[c, i, j] *
//       (x[n, oy * stride_h - pad_top + i * dilation_h, ox * stride_w - pad_left + j * dilation_w, c] - x_zero_point)
//   y = table[requantize(acc, multiplier[c], residual_term)]
//
// Outside of the image x is x_zero_point, so that it contributes nothing. Accumulation is exact in int32. y may not
// overlap x or the residual.
#pragma once
#include <cstdint>

#include "base/isa.h"
#include "base/requantize.h"
#include "base/tensor.h"

namespace fxquant {

struct DepthwiseGeometry {
  int32_t kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1;
  int32_t pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
  int32_t dilation_h = 1, dilation_w = 1;

  int64_t output_h(int64_t h) const {
    return (h + pad_top + pad_bottom - dilation_h * (kernel_h - int64_t{1}) - 1) / stride_h + 1;
  }
  int64_t output_w(int64_t w) const {
    return (w + pad_left + pad_right - dilation_w * (kernel_w - int64_t{1}) - 1) / stride_w + 1;
  }
};

// A layer before packing. weight: [channels][kernel_h][kernel_w].
struct DepthwiseLayer {
  int32_t channels = 0;
  DepthwiseGeometry geometry;
  int32_t x_zero_point = 0;
  Requantize output;
  bool has_residual = false;
  Residual residual;
  const uint8_t* table = nullptr;  // 256 entries, or none
  const int8_t* weight = nullptr;
  const int32_t* bias = nullptr;
  const float* multiplier = nullptr;
};

// What a packed layer starts with. Blocks of channels follow; pack.h says how they are laid out.
struct alignas(64) PackedDepthwise {
  uint64_t checksum;  // header_checksum of base/packed.h
  int64_t size;       // of the whole packed layer
  uint32_t magic;
  Isa isa;
  int32_t channels;
  int32_t transposed;  // height and width are exchanged, in `geometry` and in the filters
  DepthwiseGeometry geometry;
  int32_t x_zero_point, has_residual, has_table;
  int32_t clamps;  // there is a residual, or some value before the rounding may lie outside of the range of int32
  Requantize output;
  Residual residual;
  alignas(64) uint8_t outside[64];  // x_zero_point: read in place of positions outside of the image
  alignas(64) uint8_t table[256];
};
constexpr uint32_t kDepthwiseMagic = 0x31574446;

// Bytes of the packed layer.
int64_t depthwise_packed_bytes(const DepthwiseLayer& layer, Isa isa);

// Packs into `packed`, 64-byte aligned. Returns false, and `packed` is not to be used, if some input would overflow an
// int32 accumulator.
bool depthwise_pack(const DepthwiseLayer& layer, Isa isa, void* packed);

// `packed` as depthwise_pack left it, for an ISA that this machine has; `residual` only if the layer has one, then
// shaped like y. The caller has checked the shapes. Of y the rows [row_begin, row_end) are computed, which is for
// layers that are not transposed to choose.
void depthwise_run(const PackedDepthwise& packed, const Nhwc<const uint8_t>& x, const Nhwc<const uint8_t>& residual,
                   const Nhwc<uint8_t>& y, int threads, int64_t row_begin = 0, int64_t row_end = INT64_MAX);

// The part of a layer that one call of a kernel computes: some rows of one image, one block of channels.
struct DepthwiseTask {
  const PackedDepthwise* layer;
  const uint8_t* block;     // the block's section of the packed layer
  int32_t width, channels;  // of the block; channels <= width are real
  Nhwc<const uint8_t> x, residual;
  Nhwc<uint8_t> y;  // all three at the image and the block's first channel; residual.data is null if there is none
  int64_t row_begin, row_end;
};
using DepthwiseKernel = void (*)(const DepthwiseTask& task);

// A row of kernels.inc. It computes layers with a square kernel and equal strides, without dilation; kernel 0: any
// layer.
struct DepthwiseKernelRow {
  const char* name;
  Isa isa;
  DepthwiseKernel run;
  int32_t kernel, stride;

  bool accepts(const DepthwiseGeometry& g) const {
    return kernel == 0 || (g.kernel_h == kernel && g.kernel_w == kernel && g.stride_h == stride &&
                           g.stride_w == stride && g.dilation_h == 1 && g.dilation_w == 1);
  }
};

// The kernel that depthwise_run takes: the first row of the ISA that accepts the geometry.
const DepthwiseKernelRow& depthwise_kernel(const DepthwiseGeometry& geometry, Isa isa);

}  // namespace fxquant
