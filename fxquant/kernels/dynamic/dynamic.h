// linear of float32, whose inputs are quantized at run time, with a scale and a zero point for each row (or for all):
//   low = min(0, x[m, 0], x[m, 1], ...), high = max(0, x[m, 0], ...)
//   s = max((high - low) / (quant_max - quant_min), 2^-126)                                                in double
//   zero_point[m] = clamp(rne(quant_min - low / s), quant_min, quant_max)                                  in double
//   scale[m] = float(s)
//   q[m, k] = round_and_saturate(x[m, k] * (1 / scale[m]))                                     (base/requantize.h)
//   y[m, n] = clamp(float(sum over k of (q[m, k] - zero_point[m]) * w[n, k]) * scale[m] * multiplier[n] + bias[n])
// A row that holds a NaN or an infinity gives NaN. The product is that of gemm/.
// A bias may be kept in integers, of int32 and at the scale of the sums, which is widened where the bias does not fit:
//   step = max(scale[m] * multiplier[n], |bias[n]| * 2^-30, 2^-126)
//   rne(bias[n] / step) * step    in place of bias[n]                          each operation rounded to float32
#pragma once
#include <cstdint>

#include "base/isa.h"
#include "gemm/gemm.h"

namespace fxquant {

// The smallest scale, of zeros for instance: the reciprocal of less would be infinite.
constexpr float kSmallestScale = 0x1p-126F;

// The codes that inputs may become.
struct Levels {
  int32_t quant_min = 0, quant_max = 255;
};

// Of a row with 0 in it; low is NaN if the row holds a NaN or an infinity.
struct Range {
  float low, high;
};

// Of a bias in integers: `bias` and `multiplier` of all outputs, or null; the packed weights then have neither bias nor
// bounds.
struct IntegerBias {
  const float *bias = nullptr, *multiplier = nullptr;
  FloatOutput output;
};

// x [rows, depth] and y [rows, outputs], elements of a row side by side, with row strides in elements.
struct DynamicLinear {
  const PackedHeader* packed = nullptr;
  int64_t rows = 0, x_stride = 0, y_stride = 0;
  bool by_row = true;  // else one scale and zero point for all rows
  Levels levels;
  IntegerBias integer_bias;
};

// x [rows, depth].
struct DynamicRows {
  int64_t rows = 0, depth = 0, x_stride = 0;
  Levels levels;
};

struct DynamicKernels {
  Range (*range)(const float* x, int64_t count);
  // q[k] for one row; writes `count` bytes.
  void (*quantize)(uint8_t* q, const float* x, int64_t count, const RowTerms& terms, const Levels& levels);
  // Adds the bias to the products y of one row, whose inputs have `scale`, and bounds them.
  void (*add_bias)(float* y, int64_t count, float scale, const IntegerBias& integer_bias);
};

const DynamicKernels& dynamic_kernels(Isa isa);

// What holds both, or all of them.
Range joined(const Range& a, const Range& b);
Range joined(const Range* ranges, int64_t count);

// The qparams of what lies in `range`; a scale of NaN for no numbers.
RowTerms row_terms(const Range& range, const Levels& levels);

// Bytes of scratch, which begins at a multiple of 64.
int64_t dynamic_scratch(int64_t rows, int64_t depth);

// What scratch holds of rows of `depth`: codes, `stride` bytes apart, and terms.
struct DynamicCodes {
  const uint8_t* codes;
  const RowTerms* terms;
  int64_t stride;
};

DynamicCodes dynamic_codes(const uint8_t* scratch, int64_t rows, int64_t depth);

// The two parts of it, where by_row holds: rows [begin, end) of x to their codes and terms, as scratch holds them; and
// the product, whose rows may be quantized once for several layers.
void dynamic_rows(const DynamicRows& params, uint8_t* scratch, const float* x, Isa isa, int64_t begin, int64_t end);
void dynamic_product(const DynamicLinear& params, float* y, const uint8_t* scratch, int threads, Span next = {});

void dynamic_linear(const DynamicLinear& params, float* y, const float* x, uint8_t* scratch, int threads,
                    Span next = {});

}  // namespace fxquant
