// The same of bfloat16, x and y. With many rows and int8 weights a CPU that multiplies bfloat16 does, with float32
// sums, whose order is not that of float32 rows; otherwise x becomes float32, is multiplied as such, and y is rounded.
// From the exact product
//   |y[m, n] - exact| <= K * 2^-24 * sum over k of |x[m, k] * w[n, k] * scale[n]| + 2^-8 * |y[m, n]|
// but for numbers below 2^-126, which may count as zeros.
#pragma once
#include <cstdint>

#include "weight_only/weight_only.h"

namespace fxquant {

// Inputs whose weights are bfloat16 at once; even.
constexpr int64_t kHalvesDepth = 2048;

// Of one thread, at multiples of 64: weights of a panel, and float32 sums [rows][columns].
struct HalvesScratch {
  uint32_t* pairs;
  float* total;
};

struct HalvesKernel {
  int64_t columns;  // of a panel, as the float32 kernel of its ISA has them
  // Panels [begin, end), of groups of an even size.
  void (*run)(const WeightOnlyLinear& p, uint16_t* y, const uint16_t* x, const HalvesScratch& scratch, int64_t begin,
              int64_t end);
};

// Bytes of scratch.
int64_t weight_only_halves_scratch(const WeightOnlyLinear& p, int threads);

// x and y as bits of bfloat16; `scratch` begins at a multiple of 64.
void weight_only_halves(const WeightOnlyLinear& p, uint16_t* y, const uint16_t* x, uint8_t* scratch, int threads);

}  // namespace fxquant
