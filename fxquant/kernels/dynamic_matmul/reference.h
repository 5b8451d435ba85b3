// The truth that every kernel of the family is held against: one batch, element by element.
#pragma once
#include <vector>

#include "dynamic/reference.h"
#include "dynamic_attention/reference.h"
#include "dynamic_matmul/dynamic_matmul.h"

namespace fxquant {

inline void reference_dynamic_matmul(const DynamicMatmul& p, const DynamicMatmulOperands& o) {
  const auto b = [&](int64_t k, int64_t n) { return o.b[k * p.b.row + n * p.b.column]; };
  for (int64_t m = 0; m < p.rows; ++m) {
    const float* row = o.a + m * p.a_row;
    const RowTerms terms = reference_terms(row, 1, 0, p.depth, {});
    for (int64_t n = 0; n < p.columns; ++n) {
      const float scale = reference_scale(p.depth, [&](int64_t k) { return b(k, n); });
      int32_t acc = 0;
      for (int64_t k = 0; k < p.depth; ++k) {
        const int32_t code = reference_code(row[k], terms, {});
        acc += (code - terms.zero_point) * reference_code(b(k, n), scale);
      }
      o.y[m * p.y_row + n] = static_cast<float>(acc) * terms.scale * (scale * p.scale);
    }
  }
}

}  // namespace fxquant
