// Bytes that only move, or become masks, between tensors of any strides:
//   copy   y[i] = x[i]
//   select y[i] = mask[i] ? a[i] : b[i]
//   gather y[i] = x at the position index[i] along one dimension, and at i along the others
//   mask_nonzero   y[i] = x[i] != 0, of floats or unsigned integers; signed ones have the same bytes
//   fill   y[i] = value
//   halo   the pixels around an image, up to so many rows and columns away, = value
#pragma once
#include <cstdint>

#include "base/strided.h"
#include "base/tensor.h"

namespace fxquant {

// Tensor 0 of `walk` is y, tensor 1 is x.
void copy(const Walk<2>& walk, uint8_t* y, const uint8_t* x, int threads);

// Tensor 0 of `walk` is y, which none of the others overlaps; then come mask, a and b.
void select(const Walk<4>& walk, uint8_t* y, const uint8_t* mask, const uint8_t* a, const uint8_t* b, int threads);

// Tensor 0 of `walk` is y; tensor 1 is the index, whose elements are positions in 0..size - 1, `step` bytes apart in x;
// tensor 2 is x at position 0. Returns whether all positions are: one that is not is taken as 0.
template <class Index>
bool gather(const Walk<3>& walk, uint8_t* y, const Index* index, const uint8_t* x, int64_t step, int64_t size,
            int threads);

// Tensor 0 of `walk` is y, tensor 1 is x.
template <class Number>
void mask_nonzero(const Walk<2>& walk, uint8_t* y, const Number* x, int threads);

void fill(const Walk<1>& walk, uint8_t* y, uint8_t value, int threads);

// `y` lies in the middle of a dense buffer of images that are larger by the halo on all sides.
void fill_halo(const Nhwc<uint8_t>& y, int64_t rows, int64_t columns, uint8_t value, int threads);

}  // namespace fxquant
