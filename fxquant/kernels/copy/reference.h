// The truth that what only moves is held against.
#pragma once
#include <cstdint>

#include "base/strided.h"
#include "base/tensor.h"

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

inline void reference_select(const Walk<4>& walk, uint8_t* y, const uint8_t* mask, const uint8_t* a, const uint8_t* b,
                             int dim = 0) {
  if (dim == walk.rank) {
    *y = *mask ? *a : *b;
    return;
  }
  const auto at = [&](int tensor, int64_t i) { return i * walk.stride[tensor][dim]; };
  for (int64_t i = 0; i < walk.size[dim]; ++i) {
    reference_select(walk, y + at(0, i), mask + at(1, i), a + at(2, i), b + at(3, i), dim + 1);
  }
}

// As gather.
template <class Index>
bool reference_gather(const Walk<3>& walk, uint8_t* y, const Index* index, const uint8_t* x, int64_t step, int64_t size,
                      int dim = 0) {
  if (dim == walk.rank) {
    const bool lies_in = *index >= 0 && *index < size;
    *y = x[lies_in ? *index * step : 0];
    return lies_in;
  }
  bool right = true;
  const auto at = [&](int tensor, int64_t i) { return i * walk.stride[tensor][dim]; };
  for (int64_t i = 0; i < walk.size[dim]; ++i) {
    right &= reference_gather(walk, y + at(0, i), index + at(1, i), x + at(2, i), step, size, dim + 1);
  }
  return right;
}

template <class Number>
void reference_mask_nonzero(const Walk<2>& walk, uint8_t* y, const Number* x, int dim = 0) {
  if (dim == walk.rank) {
    *y = *x != 0;
    return;
  }
  for (int64_t i = 0; i < walk.size[dim]; ++i) {
    reference_mask_nonzero(walk, y + i * walk.stride[0][dim], x + i * walk.stride[1][dim], dim + 1);
  }
}

// `y` as fill_halo takes it: one pixel after the other, of those that are not in the image.
inline void reference_fill_halo(const Nhwc<uint8_t>& y, int64_t rows, int64_t columns, uint8_t value) {
  for (int64_t n = 0; n < y.n; ++n) {
    for (int64_t h = -rows; h < y.h + rows; ++h) {
      for (int64_t w = -columns; w < y.w + columns; ++w) {
        if (h >= 0 && h < y.h && w >= 0 && w < y.w) continue;
        for (int64_t c = 0; c < y.c; ++c) y.at(n, h, w)[c] = value;
      }
    }
  }
}

}  // namespace fxquant
