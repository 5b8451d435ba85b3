// The truth that every kernel of the family is held against.
#pragma once
#include <cmath>

#include "embedding/embedding.h"

namespace fxquant {

inline float reference_code(const Table& t, int64_t row, int64_t e) {
  const uint8_t byte = t.codes[row * t.row_bytes() + (t.four_bits ? e / 2 : e)];
  return static_cast<float>(!t.four_bits ? byte : e % 2 == 0 ? byte & 15 : byte >> 4);
}

template <class Int>
void reference_bags(const Bags<Int>& p, float* y) {
  for (int64_t b = 0; b < p.bags; ++b) {
    for (int64_t e = 0; e < p.table.width; ++e) {
      float sum = 0.0F, shift = 0.0F, count = 0.0F;
      for (int64_t j = p.begin(b); j < p.end(b); ++j) {
        const auto row = static_cast<int64_t>(p.index[j]);
        if (row == p.padding) continue;
        const float multiplier = p.weights ? p.table.scale(row) * p.weights[j] : p.table.scale(row);
        sum = std::fma(reference_code(p.table, row, e), multiplier, sum);
        shift = std::fma(p.table.zero_point(row), multiplier, shift);
        count += 1.0F;
      }
      const float value = sum - shift;
      y[b * p.table.width + e] = p.mean && count > 0.0F ? value / count : value;
    }
  }
}

}  // namespace fxquant
