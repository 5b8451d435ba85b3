// Normalizations, uint8 to uint8. With exact sums of codes and of their squares, in double:
//   layer_norm, group_norm   mean = sum / n;  inverse = 1 / sqrt((n * squares - sum^2) / n^2 + eps)
//   rms_norm                 mean = x_zero_point;  inverse = 1 / sqrt(mean of (x - mean)^2 + eps)
// and with mean and inverse rounded to float
//   y = clamp(rne(((float(x) - mean) * inverse) * weight + bias) + zero_point)
// eps is in units of s_x^2, weight and bias in units of s_y.
#pragma once
#include <cstdint>

#include "base/isa.h"
#include "base/requantize.h"
#include "base/rows.h"

namespace fxquant {

// Elements of a row lie side by side; weight and bias have one for each.
struct LayerNorm {
  Rows<2> rows;                                    // of y, x
  const float *weight = nullptr, *bias = nullptr;  // no bias: rms_norm
  double eps = 0;
  int32_t x_zero_point = 0;  // of rms_norm
  Requantize output;
};

// A row has the channels of a position, side by side.
struct GroupNorm {
  int64_t examples = 0, groups = 0;
  int64_t example[2] = {};  // strides of y, x
  Rows<2> rows;             // of y, x: the positions of an example
  const float *weight = nullptr, *bias = nullptr;
  double eps = 0;
  Requantize output;
};

struct NormKernels {
  // Rows [begin, end).
  void (*layer_norm)(const LayerNorm& params, uint8_t* y, const uint8_t* x, int64_t begin, int64_t end);
  // Examples [begin, end), with scratch of a thread.
  void (*group_norm)(const GroupNorm& params, uint8_t* y, const uint8_t* x, int64_t begin, int64_t end,
                     uint8_t* scratch);
};

// Bytes that each thread wants for so many channels, a multiple of 64.
int64_t group_norm_scratch(int64_t channels);

// On at most `threads` threads.
void layer_norm(const LayerNorm& params, uint8_t* y, const uint8_t* x, Isa isa, int threads);
void group_norm(const GroupNorm& params, uint8_t* y, const uint8_t* x, uint8_t* scratch, Isa isa, int threads);

}  // namespace fxquant
