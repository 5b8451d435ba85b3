// Products of which both operands are activations, uint8, batch by batch:
//   matmul      y[m, n] = requantize(sum over k of (a[m, k] - a_zero_point) * (b[k, n] - b_zero_point), multiplier)
//   attention   t[i, j] = float(sum over d of (q[i, d] - q_zero_point) * (k[j, d] - k_zero_point)) * score_multiplier
//                         + max(mask[i, j] * log2(e), -FLT_MAX);   -inf for j > i if causal
//               p[i, j] = (rne(65280 * 2^(t[i, j] - max over j of t[i, j])) + dither(j)) >> 8
//               y[i, e] = requantize(sum over j of p[i, j] * (v[j, e] - v_zero_point),
//                                    value_multiplier / float(sum over j of p[i, j]))      0 where no key is left
// (base/exponential.h, dither.h, base/requantize.h). Sums are exact in int32 for up to 33,025 summands; the float
// operations round one by one.
//
// Scores are in units of log(2): score_multiplier has the factor log2(e).
//
// The right operand of a product is packed while it is in the cache, a batch at a time: see tile.h. Attention computes
// a tile of scores, their probabilities and the results from these before it goes on, so that neither leaves L1 or L2.
#pragma once
#include <cstdint>

#include "base/isa.h"
#include "base/requantize.h"
#include "base/rows.h"

namespace fxquant {

// A matrix in memory: element (i, j) is data[i * row + j * column].
struct Matrix {
  int64_t row = 0, column = 1;
};

// y and a have neighbouring elements of a row side by side, b any strides.
struct MatmulLayout {
  Rows<3> batches;  // of y, a, b
  int64_t rows = 0, columns = 0, depth = 0;
  int64_t y_row = 0, a_row = 0;
  Matrix b;

  int64_t multiply_adds() const { return batches.count * rows * columns * depth; }
};

struct Matmul : MatmulLayout {
  float multiplier = 0.0F;
  int32_t a_zero_point = 0, b_zero_point = 0;
  Requantize output;
};

// bools: a byte each; 0 takes the key out.
enum class Mask { none, floats, bools };

// y and q have neighbouring elements of a row side by side; k, v and the mask any strides.
struct AttentionLayout {
  Rows<5> batches;  // of y, q, k, v, mask
  int64_t queries = 0, keys = 0, depth = 0, width = 0;
  int64_t y_row = 0, q_row = 0;
  Matrix k, v, mask_strides;
  Mask mask = Mask::none;
  bool causal = false;

  int64_t multiply_adds() const { return batches.count * queries * keys * (depth + width); }
};

struct Attention : AttentionLayout {
  float score_multiplier = 0.0F, value_multiplier = 0.0F;
  int32_t q_zero_point = 0, k_zero_point = 0, v_zero_point = 0;
  Requantize output;
};

// What one thread computes: the items [begin, end), an item being one of `blocks` parts of the rows of a batch.
struct MatmulPart {
  int64_t begin, end, blocks;
  uint8_t* scratch;
};

struct MatmulOperands {
  uint8_t* y;
  const uint8_t *a, *b;
};

struct AttentionOperands {
  uint8_t* y;
  const uint8_t *q, *k, *v, *mask;  // mask: floats too
};

struct MatmulKernels {
  int64_t (*matmul_scratch)(const Matmul& params);
  void (*matmul)(const Matmul& params, const MatmulOperands& operands, const MatmulPart& part);
  int64_t (*attention_scratch)(const Attention& params);
  void (*attention)(const Attention& params, const AttentionOperands& operands, const MatmulPart& part);
};

// Bytes that each thread wants, a multiple of 64; the memory begins at a multiple of 64.
int64_t matmul_scratch(const Matmul& params, Isa isa);
int64_t attention_scratch(const Attention& params, Isa isa);

// On at most `threads` threads.
void matmul(const Matmul& params, const MatmulOperands& operands, uint8_t* scratch, Isa isa, int threads);
void attention(const Attention& params, const AttentionOperands& operands, uint8_t* scratch, Isa isa, int threads);

}  // namespace fxquant
