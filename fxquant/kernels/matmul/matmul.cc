#include "matmul/matmul.h"

#include "matmul/parts.h"

namespace fxquant {

#define KERNELS(isa, table) extern const MatmulKernels table;
#include "matmul/kernels.inc"
#undef KERNELS

namespace {

const MatmulKernels& matmul_kernels(Isa isa) {
  switch (isa) {
#define KERNELS(name, table) \
  case Isa::name:            \
    return table;
#include "matmul/kernels.inc"
#undef KERNELS
  FXQUANT_FOREIGN_ISAS:
    break;
  }
  return matmul_scalar;
}

}  // namespace

int64_t matmul_scratch(const Matmul& params, Isa isa) { return matmul_kernels(isa).matmul_scratch(params); }

int64_t attention_scratch(const Attention& params, Isa isa) { return matmul_kernels(isa).attention_scratch(params); }

void matmul(const Matmul& p, const MatmulOperands& operands, uint8_t* scratch, Isa isa, int threads) {
  const MatmulKernels& kernels = matmul_kernels(isa);
  run_matmul_parts(p, threads, scratch, kernels.matmul_scratch(p),
                   [&](const MatmulPart& part) { kernels.matmul(p, operands, part); });
}

void attention(const Attention& p, const AttentionOperands& operands, uint8_t* scratch, Isa isa, int threads) {
  const MatmulKernels& kernels = matmul_kernels(isa);
  run_attention_parts(p, threads, scratch, kernels.attention_scratch(p),
                      [&](const MatmulPart& part) { kernels.attention(p, operands, part); });
}

}  // namespace fxquant
