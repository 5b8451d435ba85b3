// Rows of a table, each by its index, and sums of such rows.
//
// The elements of a table are codes of 8 bits, or of 4, of which a byte holds two, the first one in its lower half.
// Each row has a scale and a zero point of its own:
//   row(i)[e] = (code(i, e) - zero_point[i]) * scale[i]
// so that of the j of bag b, in their order, from 0.0 on, with i = indices[j] and m = scale[i] * weight[j]
//   y[b][e]   = (sum of code(i, e) * m) - (sum of zero_point[i] * m)
//   y[b][e]  /= how many j there were, if the mean is asked for and there were any
// Indices that equal `padding` are left out. A product is rounded to float32 together with the sum that it is added to,
// as std::fma does; each other operation on its own.
#pragma once
#include <cstdint>
#include <string>

#include "base/isa.h"

namespace fxquant {

struct Table {
  const uint8_t* codes = nullptr;
  const float* affine = nullptr;  // scale and zero point of each row, side by side: one cache line has both
  int64_t rows = 0, width = 0;    // elements of a row
  bool four_bits = false;

  int64_t row_bytes() const { return four_bits ? (width + 1) / 2 : width; }
  float scale(int64_t row) const { return affine[2 * row]; }
  float zero_point(int64_t row) const { return affine[2 * row + 1]; }
};

// Bag b has the indices [offsets[b], offsets[b + 1]), the last one those up to `indices`; without offsets each bag has
// `each` of them.
template <class Int>
struct Bags {
  Table table;
  const Int* index = nullptr;
  int64_t indices = 0;
  const Int* offsets = nullptr;
  int64_t bags = 0, each = 1;
  bool last_is_given = false;      // whether offsets[bags] tells where the last bag ends
  const float* weights = nullptr;  // one an index, or none
  int64_t padding = -1;
  bool mean = false;

  int64_t begin(int64_t bag) const { return offsets ? static_cast<int64_t>(offsets[bag]) : bag * each; }
  int64_t end(int64_t bag) const { return !offsets || bag + 1 < bags || last_is_given ? begin(bag + 1) : indices; }
};

struct EmbeddingKernels {
  // y [bags, width], dense: the bags [begin, end).
  void (*bags_i32)(const Bags<int32_t>& p, float* y, int64_t begin, int64_t end);
  void (*bags_i64)(const Bags<int64_t>& p, float* y, int64_t begin, int64_t end);
};

// What is wrong with the indices or the offsets; empty if nothing is. The others do not look.
template <class Int>
std::string wrong_bags(const Bags<Int>& p);

template <class Int>
void embedding_bags(const Bags<Int>& p, float* y, Isa isa, int threads);

}  // namespace fxquant
