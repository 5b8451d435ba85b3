// Products of two float32 matrices by integers that are made at run time, batch by batch:
//   qa[m, k], za[m], sa[m]   codes of the rows of a, 0..255, as of dynamic/dynamic.h
//   sb[n] = max(max over k of |b[k, n]| / 127, 2^-126), or NaN where there is a NaN or an infinity
//   qb[k, n] = clamp(rne(b[k, n] * (1 / sb[n])), -127, 127)
//   y[m, n] = float(sum over k of (qa[m, k] - za[m]) * qb[k, n]) * sa[m] * (sb[n] * scale)
// Sums are exact in int32 for up to 33,025 summands, the float operations round one by one: every ISA gives the same
// bits.
#pragma once
#include "matmul/matmul.h"

namespace fxquant {

struct DynamicMatmul : MatmulLayout {
  float scale = 1.0F;
};

struct DynamicMatmulOperands {
  float* y;
  const float *a, *b;
};

struct DynamicMatmulKernels {
  int64_t (*scratch)(const DynamicMatmul& params);
  void (*matmul)(const DynamicMatmul& params, const DynamicMatmulOperands& operands, const MatmulPart& part);
};

// Bytes that each thread wants, a multiple of 64; the memory begins at a multiple of 64.
int64_t dynamic_matmul_scratch(const DynamicMatmul& params, Isa isa);

// On at most `threads` threads.
void dynamic_matmul(const DynamicMatmul& params, const DynamicMatmulOperands& operands, uint8_t* scratch, Isa isa,
                    int threads);

}  // namespace fxquant
