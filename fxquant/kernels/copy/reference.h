// The truth that copy and fill are held against.
#pragma once
#include <cstdint>

#include "base/strided.h"

namespace fxquant {

// The elements of `walk`, in any order.
inline void reference_copy(const Walk<2>& walk, uint8_t* y, const uint8_t* x, int dim = 0) {
  if (dim == walk.rank) {
    *y = *x;
    return;
  }
  for (int64_t i = 0; i < walk.size[dim]; ++i) {
    reference_copy(walk, y + i * walk.stride[0][dim], x + i * walk.stride[1][dim], dim + 1);
  }
}

}  // namespace fxquant
