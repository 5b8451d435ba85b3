// The rows of batches of matrices: blocks of them for a thread, and tiles for its registers.
#pragma once
#include "base/unroll.h"
#include "matmul/matmul.h"

namespace fxquant {
namespace {

// body(Index<count>{}) of a count in [1, Most].
template <int Most, class Body>
inline void with_count(int64_t count, const Body& body) {
  if constexpr (Most > 1) {
    if (count < Most) return with_count<Most - 1>(count, body);
  }
  body(Index<Most>{});
}

// The rows [begin, end) of a block, in tiles of at most kMost that are as even as possible: body(first row,
// Index<rows>{}).
template <int kMost, class Body>
void for_each_tile(int64_t begin, int64_t end, const Body& body) {
  const int64_t count = end - begin, tiles = (count + kMost - 1) / kMost;
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t first = begin + count * t / tiles;
    with_count<kMost>(begin + count * (t + 1) / tiles - first, [&](auto rows) { body(first, rows); });
  }
}

// The items of a part: body(batch, whether the one before had another batch, first row, last row + 1).
template <class Body>
void for_each_block(const MatmulPart& part, int64_t rows, Body&& body) {
  for (int64_t item = part.begin; item < part.end; ++item) {
    const int64_t batch = item / part.blocks, block = item % part.blocks;
    const bool is_new = item == part.begin || block == 0;
    body(batch, is_new, rows * block / part.blocks, rows * (block + 1) / part.blocks);
  }
}

}  // namespace
}  // namespace fxquant
