// Two uint8 tensors to one, with any broadcasting (a stride of 0):
//   add   y = clamp(rne(float(a - a_zero_point) * a_multiplier + float(b - b_zero_point) * b_multiplier) + zero_point)
//   mul   y = clamp(rne(float((a - a_zero_point) * (b - b_zero_point)) * multiplier) + zero_point)
// both clamped to [quant_min, quant_max]; products and sum each round to float32.
#pragma once
#include <cstdint>

#include "base/isa.h"
#include "base/requantize.h"
#include "base/strided.h"

namespace fxquant {

struct Add {
  float a_multiplier = 0.0F, b_multiplier = 0.0F;  // s_a / s_y, s_b / s_y
  int32_t a_zero_point = 0, b_zero_point = 0;
  Requantize output;
};

struct Mul {
  float multiplier = 0.0F;  // s_a * s_b / s_y
  int32_t a_zero_point = 0, b_zero_point = 0;
  Requantize output;
};

// In walks and planes tensor 0 is y, tensor 1 is a, tensor 2 is b. y may be a or b if their strides are the same.
struct ElementwiseKernels {
  void (*add)(const Plane<3>& plane, uint8_t* y, const uint8_t* a, const uint8_t* b, const Add& add);
  void (*mul)(const Plane<3>& plane, uint8_t* y, const uint8_t* a, const uint8_t* b, const Mul& mul);
};

void add(const Walk<3>& walk, uint8_t* y, const uint8_t* a, const uint8_t* b, const Add& params, Isa isa, int threads);
void mul(const Walk<3>& walk, uint8_t* y, const uint8_t* a, const uint8_t* b, const Mul& params, Isa isa, int threads);

}  // namespace fxquant
