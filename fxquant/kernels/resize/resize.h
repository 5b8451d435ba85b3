// Interpolation between the pixels of an image, with torch's choice of source positions (source.h):
//   bilinear   y = clamp(rne(l0h * (l0w * q00 + l1w * q01) + l1h * (l0w * q10 + l1w * q11)) + zero_point, 0, 255)
//              with q.. = float(x - zero_point) at the two rows and columns of the taps; every operation rounds
//   nearest    y[n, h, w, c] = x[n, rows[h], columns[w], c]
// The output has the input's qparams.
#pragma once
#include <cstdint>

#include "base/isa.h"
#include "base/tensor.h"

namespace fxquant {

// One output coordinate is weight0 * in[index0] + weight1 * in[index1].
struct Tap {
  int64_t index0 = 0, index1 = 0;
  float weight0 = 1.0F, weight1 = 0.0F;
};

// A row of output pixels: y[w * y_stride + c] from the input rows x0 and x1, weighted by `row`, at columns[w].
struct BilinearRow {
  const uint8_t *x0 = nullptr, *x1 = nullptr;
  int64_t x_stride = 0;
  uint8_t* y = nullptr;
  int64_t y_stride = 0, width = 0, channels = 0;
  Tap row;
  const Tap* columns = nullptr;
  int32_t zero_point = 0;
};

struct ResizeKernels {
  void (*bilinear_row)(const BilinearRow& row);
};

// `rows` has y.h entries and `columns` y.w, as of source.h.
void interpolate_bilinear(const Nhwc<const uint8_t>& x, const Nhwc<uint8_t>& y, const Tap* rows, const Tap* columns,
                          int32_t zero_point, Isa isa, int threads);
void interpolate_nearest(const Nhwc<const uint8_t>& x, const Nhwc<uint8_t>& y, const int64_t* rows,
                         const int64_t* columns, int threads);

}  // namespace fxquant
