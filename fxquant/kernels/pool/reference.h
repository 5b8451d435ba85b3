// The truth that every pooling kernel is held against, bit for bit.
#pragma once
#include "pool/pool.h"

namespace fxquant {

template <class Output>
void for_each_output(const Nhwc<uint8_t>& y, const Output& output) {
  for (int64_t n = 0; n < y.n; ++n) {
    for (int64_t oy = 0; oy < y.h; ++oy) {
      for (int64_t ox = 0; ox < y.w; ++ox) {
        for (int64_t c = 0; c < y.c; ++c) y.at(n, oy, ox)[c] = output(n, oy, ox, c);
      }
    }
  }
}

inline void max_pool2d_reference(const Nhwc<const uint8_t>& x, const Nhwc<uint8_t>& y, const Window* rows,
                                 const Window* columns, int64_t dilation_h, int64_t dilation_w) {
  for_each_output(y, [&](int64_t n, int64_t oy, int64_t ox, int64_t c) {
    uint8_t largest = 0;
    for (int64_t iy = rows[oy].begin; iy < rows[oy].end; iy += dilation_h) {
      for (int64_t ix = columns[ox].begin; ix < columns[ox].end; ix += dilation_w) {
        if (x.at(n, iy, ix)[c] > largest) largest = x.at(n, iy, ix)[c];
      }
    }
    return largest;
  });
}

inline void avg_pool2d_reference(const Nhwc<const uint8_t>& x, const Nhwc<uint8_t>& y, const Window* rows,
                                 const Window* columns, const AveragePool& pool) {
  for_each_output(y, [&](int64_t n, int64_t oy, int64_t ox, int64_t c) {
    int32_t sum = 0;
    for (int64_t iy = rows[oy].begin; iy < rows[oy].end; ++iy) {
      for (int64_t ix = columns[ox].begin; ix < columns[ox].end; ++ix) sum += x.at(n, iy, ix)[c] - pool.x_zero_point;
    }
    const float divisor = static_cast<float>(rows[oy].extent * columns[ox].extent);
    return requantize(sum, pool.multiplier / divisor, 0.0F, pool.output);
  });
}

}  // namespace fxquant
