// The truth that every kernel of the family is held against.
#pragma once
#include "base/requantize.h"
#include "resize/source.h"

namespace fxquant {

inline uint8_t reference_bilinear(const Nhwc<const uint8_t>& x, int64_t n, const Tap& row, const Tap& column, int64_t c,
                                  int32_t zero_point) {
  const auto value = [&](int64_t h, int64_t w) {
    return static_cast<float>(static_cast<int32_t>(x.at(n, h, w)[c]) - zero_point);
  };
  const auto along_row = [&](int64_t h) {
    return column.weight0 * value(h, column.index0) + column.weight1 * value(h, column.index1);
  };
  return round_and_saturate(row.weight0 * along_row(row.index0) + row.weight1 * along_row(row.index1),
                            {zero_point, 0, 255});
}

inline void reference_interpolate_bilinear(const Nhwc<const uint8_t>& x, const Nhwc<uint8_t>& y, const Axis& height,
                                           const Axis& width, bool align_corners, int32_t zero_point) {
  for (int64_t n = 0; n < y.n; ++n) {
    for (int64_t h = 0; h < y.h; ++h) {
      for (int64_t w = 0; w < y.w; ++w) {
        const Tap row = bilinear_tap(height, align_corners, h), column = bilinear_tap(width, align_corners, w);
        for (int64_t c = 0; c < y.c; ++c) y.at(n, h, w)[c] = reference_bilinear(x, n, row, column, c, zero_point);
      }
    }
  }
}

inline void reference_interpolate_nearest(const Nhwc<const uint8_t>& x, const Nhwc<uint8_t>& y, const Axis& height,
                                          const Axis& width) {
  for (int64_t n = 0; n < y.n; ++n) {
    for (int64_t h = 0; h < y.h; ++h) {
      for (int64_t w = 0; w < y.w; ++w) {
        const uint8_t* from = x.at(n, nearest_index(height, h), nearest_index(width, w));
        for (int64_t c = 0; c < y.c; ++c) y.at(n, h, w)[c] = from[c];
      }
    }
  }
}

}  // namespace fxquant
