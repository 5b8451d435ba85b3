// Attention of float32 whose products are of integers, made at run time, for each batch (a head of an example) alone:
//   s_q = scale_of(max |q|),  s_k = scale_of(max |k|),  s_v[e] = scale_of(max over j of |v[j, e]|)
//   scale_of(most) = max(most / 127, 2^-126), or NaN where there is a NaN or an infinity
//   codes of x: clamp(rne(x * (1 / s)), -127, 127)
//   t[i, j] = float(sum over d of q[i, d] * k[j, d], of codes) * (s_q * s_k * scale * log2(e))
//             + max(mask[i, j] * log2(e), -FLT_MAX);   -inf for j > i if causal
//   p[i, j] = (rne(65280 * 2^(t[i, j] - max over j of t[i, j])) + dither(j)) >> 8 (matmul/dither.h) y[i, e] = float(sum
//   over j of p[i, j] * v[j, e], of codes) * (1 / sum over j of p[i, j]) * s_v[e]
// with 0 for that quotient where no key is left, and NaN where s_q or s_k is. Sums are exact in int32 for up to 33,025
// summands, the float operations round one by one: every ISA gives the same bits.
#pragma once
#include "floats/floats.h"

namespace fxquant {

struct DynamicAttentionKernels {
  int64_t (*scratch)(const FloatAttention& params);
  void (*attention)(const FloatAttention& params, const FloatAttentionOperands& operands, const MatmulPart& part);
};

// Bytes that each thread wants, a multiple of 64; the memory begins at a multiple of 64.
int64_t dynamic_attention_scratch(const FloatAttention& params, Isa isa);

// On at most `threads` threads.
void dynamic_attention(const FloatAttention& params, const FloatAttentionOperands& operands, uint8_t* scratch, Isa isa,
                       int threads);

}  // namespace fxquant
