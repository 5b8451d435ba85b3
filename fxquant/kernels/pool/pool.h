// Pooling of uint8 images, channels last. Every output position has a window of rows and a window of columns:
//
//   max_pool2d  y = max over the window of x; 0 if the window is empty
//   avg_pool2d  y = clamp(rne(float(sum over the window of (x - x_zero_point)) * (multiplier / float(divisor))) +
//                   zero_point, quant_min, quant_max),  divisor = rows[oy].extent * columns[ox].extent
//               the quotient rounds to float32, then the product does
//
// Padding is not in the windows: it never wins a max and adds 0 to a sum. ceil_mode, count_include_pad and adaptive
// pooling are nothing but other windows. y may not overlap x.
#pragma once
#include <cstdint>

#include "base/isa.h"
#include "base/requantize.h"
#include "base/tensor.h"

namespace fxquant {

// Input positions begin, begin + dilation, ... < end along one axis. `extent` is this axis's factor of the divisor.
struct Window {
  int64_t begin = 0, end = 0, extent = 1;
};

struct PoolAxis {
  int64_t kernel = 1, stride = 1, padding = 0, dilation = 1;
};

struct AveragePool {
  float multiplier = 1.0F;  // s_x / s_y
  int32_t x_zero_point = 0;
  Requantize output;
};

// Fills windows[0 .. outputs) of an input of `size` positions. The extent counts positions within the image and, if
// `include_padding`, within its padding. With dilation only for max pooling.
void pool_windows(const PoolAxis& axis, int64_t size, int64_t outputs, bool include_padding, Window* windows);

// Output o of `outputs` averages the positions floor(o * size / outputs) .. ceil((o + 1) * size / outputs).
void adaptive_windows(int64_t size, int64_t outputs, Window* windows);

// `rows` has y.h windows, `columns` y.w. The dilations are those of the windows.
void max_pool2d(const Nhwc<const uint8_t>& x, const Nhwc<uint8_t>& y, const Window* rows, const Window* columns,
                int64_t dilation_h, int64_t dilation_w, Isa isa, int threads);

// A window may not hold more than kLargestWindow positions, or its sum could overflow an int32.
constexpr int64_t kLargestWindow = 0x7fffffff / 255;
void avg_pool2d(const Nhwc<const uint8_t>& x, const Nhwc<uint8_t>& y, const Window* rows, const Window* columns,
                const AveragePool& pool, Isa isa, int threads);

// The part that one call of a kernel computes: a row of outputs, some channels.
struct PoolTask {
  Nhwc<const uint8_t> x;  // the image, from the part's first channel on
  uint8_t* y;             // the row's first output, at that channel
  int64_t width, stride_y, channels;
  Window rows;
  const Window* columns;  // `width` of them
  int64_t dilation_h, dilation_w;
  const AveragePool* average;  // null for max pooling
};
using PoolKernel = void (*)(const PoolTask& task);

enum class PoolOp { max, average };

// A row of kernels.inc.
struct PoolKernelRow {
  PoolOp op;
  Isa isa;
  PoolKernel run;
};

}  // namespace fxquant
