// The truth that every kernel of the family is held against.
#pragma once
#include <cstdint>

#include "base/tensor.h"

namespace fxquant {

// y[n, h, w, c] = tables[256 * c * per_channel + x[n, h, w, c]]
inline void reference_lookup(const Nhwc<const uint8_t>& x, const Nhwc<uint8_t>& y, const uint8_t* tables,
                             bool per_channel) {
  for (int64_t n = 0; n < x.n; ++n) {
    for (int64_t h = 0; h < x.h; ++h) {
      for (int64_t w = 0; w < x.w; ++w) {
        for (int64_t c = 0; c < x.c; ++c) {
          y.at(n, h, w)[c] = tables[256 * c * per_channel + x.at(n, h, w)[c]];
        }
      }
    }
  }
}

}  // namespace fxquant
