#include "dynamic_matmul/dynamic_matmul.h"

#include "base/kernel_rows.h"
#include "matmul/parts.h"

namespace fxquant {

#define KERNELS(isa, table) extern const DynamicMatmulKernels table;
#include "dynamic_matmul/kernels.inc"
#undef KERNELS

namespace {

constexpr KernelRow<DynamicMatmulKernels> kRows[] = {
#define KERNELS(isa, table) {Isa::isa, &table},
#include "dynamic_matmul/kernels.inc"
#undef KERNELS
};

}  // namespace

int64_t dynamic_matmul_scratch(const DynamicMatmul& params, Isa isa) { return kernels_of(kRows, isa).scratch(params); }

void dynamic_matmul(const DynamicMatmul& p, const DynamicMatmulOperands& operands, uint8_t* scratch, Isa isa,
                    int threads) {
  const DynamicMatmulKernels& kernels = kernels_of(kRows, isa);
  run_matmul_parts(p, threads, scratch, kernels.scratch(p),
                   [&](const MatmulPart& part) { kernels.matmul(p, operands, part); });
}

}  // namespace fxquant
