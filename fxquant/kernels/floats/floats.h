// What stands between dynamic layers, float32 to float32, so that one program holds them all:
//   add, mul    y = a + b, y = a * b
//   gelu        y = max(x, 0) + n * ((n + 8.5) * polynomial(n))^16     n = max(-|x|, -8.5), see arithmetic.h
//               within 9e-7; 0 for -inf
//   gelu_tanh   y = (max(x, 0) + min(x, 0) * e) / (1 + e)      e = exp2(-|x| * (x^2 * cubic + linear))
//               off by (3 - 2 * ln(e)) * 1e-7 of itself; NaN for -inf
//   silu        y = (max(x, 0) + min(x, 0) * e) / (1 + e)      e = exp2(-|x| * log2(e))
//               off by (3 + |x|) * 1e-7 of itself; NaN for -inf
//   layer_norm  mean = sum(x) / n;  inverse = 1 / sqrt(sum((x - mean)^2) / n + eps)
//               y = ((x - mean) * inverse) * weight + bias
//   rms_norm    y = (x * (1 / sqrt(sum(x^2) / n + eps))) * weight
//   embedding   y[r] = table[index[r]], whole rows
//   attention   s[i, j] = sum over d of q[i, d] * k[j, d], times scale, plus mask[i, j];   -inf for j > i if causal
//               p[i, j] = exp2((s[i, j] - max over j of s[i, j]) * log2(e))
//               y[i, e] = sum over j of p[i, j] * v[j, e] * (1 / sum over j of p[i, j])      0 where no key is left
// Every operation rounds to float32 by itself, but for a polynomial's and gelu's sums of a product and another number,
// which round once. Products are summed in order, from 0 on; sum() has kPartials partial
// sums, element i in number i % kPartials, of which then the upper half is added to the lower one until one is left.
// So every ISA gives the same bits. A NaN gives NaN in its element or its row (the norms).
#pragma once
#include <cstdint>

#include "base/isa.h"
#include "base/rows.h"
#include "matmul/matmul.h"

namespace fxquant {

constexpr int64_t kPartials = 32;

// Elements of a row lie side by side; distances of rows in elements.
struct FloatRows {
  int64_t count = 0, length = 0, y_stride = 0, x_stride = 0;
};

// weight and bias have an element for each of a row; an rms_norm has no bias.
struct FloatLayerNorm {
  FloatRows rows;
  const float *weight = nullptr, *bias = nullptr;
  float eps = 0.0F;
};

// table [size, length] and y [rows, length], without gaps.
struct FloatEmbedding {
  int64_t rows = 0, length = 0, size = 0;
};

struct FloatAttention : AttentionLayout {
  float scale = 1.0F;
};

struct FloatAttentionOperands {
  float* y;
  const float *q, *k, *v;
  const uint8_t* mask;  // of floats or bools
};

// Of rows [begin, end), or of a part.
struct FloatKernels {
  void (*add)(const Rows<3>& rows, float* y, const float* a, const float* b, int64_t begin, int64_t end);
  void (*mul)(const Rows<3>& rows, float* y, const float* a, const float* b, int64_t begin, int64_t end);
  void (*gelu)(const FloatRows& rows, float* y, const float* x, int64_t begin, int64_t end);
  void (*gelu_tanh)(const FloatRows& rows, float* y, const float* x, int64_t begin, int64_t end);
  void (*silu)(const FloatRows& rows, float* y, const float* x, int64_t begin, int64_t end);
  void (*layer_norm)(const FloatLayerNorm& params, float* y, const float* x, int64_t begin, int64_t end);
  void (*rms_norm)(const FloatLayerNorm& params, float* y, const float* x, int64_t begin, int64_t end);
  int64_t (*attention_scratch)(const FloatAttention& params);
  void (*attention)(const FloatAttention& params, const FloatAttentionOperands& operands, const MatmulPart& part);
};

const FloatKernels& float_kernels(Isa isa);

// Rows [begin, end). Returns whether every index is one of the table; one that is not is taken as 0.
bool float_embedding(const FloatEmbedding& params, float* y, const int64_t* index, const float* table, int64_t begin,
                     int64_t end);

// Bytes that each thread wants, a multiple of 64; the memory begins at a multiple of 64.
int64_t float_attention_scratch(const FloatAttention& params, Isa isa);

// On at most `threads` threads. y may be an operand itself, but not that of attention.
void float_add(const Rows<3>& rows, float* y, const float* a, const float* b, Isa isa, int threads);
void float_mul(const Rows<3>& rows, float* y, const float* a, const float* b, Isa isa, int threads);
void float_gelu(const FloatRows& rows, float* y, const float* x, Isa isa, int threads);
void float_gelu_tanh(const FloatRows& rows, float* y, const float* x, Isa isa, int threads);
void float_silu(const FloatRows& rows, float* y, const float* x, Isa isa, int threads);
void float_layer_norm(const FloatLayerNorm& params, float* y, const float* x, Isa isa, int threads);
void float_rms_norm(const FloatLayerNorm& params, float* y, const float* x, Isa isa, int threads);
void float_attention(const FloatAttention& params, const FloatAttentionOperands& operands, uint8_t* scratch, Isa isa,
                     int threads);

}  // namespace fxquant
