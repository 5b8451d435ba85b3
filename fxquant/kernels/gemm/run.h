// What an ISA's file exports: the product over a part of the rows and panels.
#pragma once
#include <cstdint>

namespace fxquant {

struct Product;

// Rows and panels of one thread. Panels are counted through all groups.
struct RunPart {
  int64_t row_begin, row_end, panel_begin, panel_end;
};

#define FXQUANT_GEMM_KERNEL(isa, ...) void run_product_##isa(const Product& product, const RunPart& part);
#include "gemm/kernels.inc"
#undef FXQUANT_GEMM_KERNEL

}  // namespace fxquant
