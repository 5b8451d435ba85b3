// The truth that every kernel of the family is held against: one element, and all elements of a walk.
#pragma once
#include <cstdint>

#include "quantize/quantize.h"

namespace fxquant {

inline void reference_element(uint8_t* q, const float* x, const Quantize& params) {
  *q = round_and_saturate(*x / params.scale, params.output);
}

inline void reference_element(float* x, const uint8_t* q, const Dequantize& params) {
  *x = residual_term(*q, {params.zero_point, params.scale});
}

template <class To, class From, class Params>
void reference_walk(const Walk<2>& walk, To* y, const From* x, const Params& params, int dim = 0) {
  if (dim == walk.rank) return reference_element(y, x, params);
  for (int64_t i = 0; i < walk.size[dim]; ++i) {
    reference_walk(walk, y + i * walk.stride[0][dim], x + i * walk.stride[1][dim], params, dim + 1);
  }
}

}  // namespace fxquant
