// The truth that every kernel of the family is held against: one element, and one plane of them.
#pragma once
#include <cstdint>

#include "elementwise/elementwise.h"

namespace fxquant {

static inline uint8_t reference_element(uint8_t a, uint8_t b, const Add& p) {
  const float term = residual_term(b, {p.b_zero_point, p.b_multiplier});
  return requantize(static_cast<int32_t>(a) - p.a_zero_point, p.a_multiplier, term, p.output);
}

static inline uint8_t reference_element(uint8_t a, uint8_t b, const Mul& p) {
  return requantize((static_cast<int32_t>(a) - p.a_zero_point) * (static_cast<int32_t>(b) - p.b_zero_point),
                    p.multiplier, 0.0F, p.output);
}

static inline float reference_product(uint8_t value, int32_t zero_point, float multiplier) {
  return static_cast<float>(static_cast<int32_t>(value) - zero_point) * multiplier;
}

static inline uint8_t reference_element(uint8_t a, uint8_t b, const Maximum& p) {
  const float x = reference_product(a, p.a_zero_point, p.a_multiplier);
  const float y = reference_product(b, p.b_zero_point, p.b_multiplier);
  return round_and_saturate(x > y ? x : y, p.output);
}

static inline uint8_t reference_element(uint8_t a, uint8_t b, const Minimum& p) {
  const float x = reference_product(a, p.a_zero_point, p.a_multiplier);
  const float y = reference_product(b, p.b_zero_point, p.b_multiplier);
  return round_and_saturate(x < y ? x : y, p.output);
}

static inline uint8_t reference_element(uint8_t a, uint8_t b, const Div& p) {
  const auto x = static_cast<float>(static_cast<int32_t>(a) - p.a_zero_point);
  const auto y = static_cast<float>(static_cast<int32_t>(b) - p.b_zero_point);
  return round_and_saturate((p.exchanged ? y / x : x / y) * p.multiplier, p.output);
}

// The elements of `walk`, in any order.
template <class Params>
void reference_elementwise(const Walk<3>& walk, uint8_t* y, const uint8_t* a, const uint8_t* b, const Params& params,
                           int dim = 0) {
  if (dim == walk.rank) {
    *y = reference_element(*a, *b, params);
    return;
  }
  for (int64_t i = 0; i < walk.size[dim]; ++i) {
    reference_elementwise(walk, y + i * walk.stride[0][dim], a + i * walk.stride[1][dim], b + i * walk.stride[2][dim],
                          params, dim + 1);
  }
}

}  // namespace fxquant
