// Two uint8 tensors to one, with any broadcasting (a stride of 0):
//   add   y = clamp(rne(float(a - a_zero_point) * a_multiplier + float(b - b_zero_point) * b_multiplier) + zero_point)
//   maximum, minimum   the same with the larger or smaller of both products in place of their sum
//   mul   y = clamp(rne(float((a - a_zero_point) * (b - b_zero_point)) * multiplier) + zero_point)
//   div   y = clamp(rne(float(a - a_zero_point) / float(b - b_zero_point) * multiplier) + zero_point)
// clamped to [quant_min, quant_max]; products, quotient and sum each round to float32. A quotient by 0 saturates, and
// 0 / 0 gives quant_min.
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

struct Maximum : Add {};
struct Minimum : Add {};

struct Mul {
  float multiplier = 0.0F;  // s_a * s_b / s_y
  int32_t a_zero_point = 0, b_zero_point = 0;
  Requantize output;
};

struct Div {
  float multiplier = 0.0F;  // s_a / (s_b * s_y)
  int32_t a_zero_point = 0, b_zero_point = 0;
  Requantize output;
  bool exchanged = false;  // b / a, of the operands as kernels are given them
};

// In walks and planes tensor 0 is y, tensor 1 is a, tensor 2 is b. y may be a or b if their strides are the same.
template <class Params>
using ElementwiseKernel = void (*)(const Plane<3>& plane, uint8_t* y, const uint8_t* a, const uint8_t* b,
                                   const Params& params);

struct ElementwiseKernels {
  ElementwiseKernel<Add> add;
  ElementwiseKernel<Mul> mul;
  ElementwiseKernel<Maximum> maximum;
  ElementwiseKernel<Minimum> minimum;
  ElementwiseKernel<Div> div;
};

void add(const Walk<3>& walk, uint8_t* y, const uint8_t* a, const uint8_t* b, const Add& params, Isa isa, int threads);
void mul(const Walk<3>& walk, uint8_t* y, const uint8_t* a, const uint8_t* b, const Mul& params, Isa isa, int threads);
void maximum(const Walk<3>& walk, uint8_t* y, const uint8_t* a, const uint8_t* b, const Maximum& params, Isa isa,
             int threads);
void minimum(const Walk<3>& walk, uint8_t* y, const uint8_t* a, const uint8_t* b, const Minimum& params, Isa isa,
             int threads);
void div(const Walk<3>& walk, uint8_t* y, const uint8_t* a, const uint8_t* b, const Div& params, Isa isa, int threads);

}  // namespace fxquant
