#include "dynamic_attention/dynamic_attention.h"

#include "base/kernel_rows.h"
#include "matmul/parts.h"

namespace fxquant {

#define KERNELS(isa, table) extern const DynamicAttentionKernels table;
#include "dynamic_attention/kernels.inc"
#undef KERNELS

namespace {

constexpr KernelRow<DynamicAttentionKernels> kRows[] = {
#define KERNELS(isa, table) {Isa::isa, &table},
#include "dynamic_attention/kernels.inc"
#undef KERNELS
};

}  // namespace

int64_t dynamic_attention_scratch(const FloatAttention& params, Isa isa) {
  return kernels_of(kRows, isa).scratch(params);
}

void dynamic_attention(const FloatAttention& p, const FloatAttentionOperands& operands, uint8_t* scratch, Isa isa,
                       int threads) {
  const DynamicAttentionKernels& kernels = kernels_of(kRows, isa);
  run_attention_parts(p, threads, scratch, kernels.scratch(p),
                      [&](const MatmulPart& part) { kernels.attention(p, operands, part); });
}

}  // namespace fxquant
