// softmax and log_softmax of rows of any strides, uint8 to uint8:
//   t = float(x - x_zero_point) * x_scale + mask;  d = t - max(t)
//   e = rne(2^(d * log2(e)) * 2^23)                                                             (base/exponential.h)
//   softmax       y = clamp(rne(float(e) * float(multiplier / sum of e)) + zero_point)
//   log_softmax   y = clamp(rne((d - float(log(sum of e / 2^23))) * multiplier) + zero_point)
// The sum is exact; the quotient and the logarithm are of doubles. A row without any score left is a NaN: quant_min.
#pragma once
#include <cstdint>

#include "base/isa.h"
#include "base/requantize.h"
#include "base/rows.h"

namespace fxquant {

struct Softmax {
  Rows<3> rows;  // of y, x, mask
  bool masked = false, bools = false, logarithm = false;
  float x_scale = 0.0F, multiplier = 0.0F;  // multiplier = 1 / s_y
  int32_t x_zero_point = 0;
  Requantize output;
};

struct SoftmaxOperands {
  uint8_t* y;
  const uint8_t *x, *mask;  // the mask: float32, or with `bools` bytes of which 0 takes a score out
};

// Rows [begin, end), with scratch of a thread.
struct SoftmaxKernels {
  void (*softmax)(const Softmax& params, const SoftmaxOperands& operands, int64_t begin, int64_t end, uint8_t* scratch);
};

// Bytes that each thread wants for rows of so many elements, a multiple of 64.
int64_t softmax_scratch(int64_t length);

// On at most `threads` threads.
void softmax(const Softmax& params, const SoftmaxOperands& operands, uint8_t* scratch, Isa isa, int threads);

}  // namespace fxquant
