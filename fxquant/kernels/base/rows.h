// Rows of N tensors of one shape: all dimensions but the last one are walked, the last one is a kernel's.
#pragma once
#include <cstdint>

#include "base/strided.h"

namespace fxquant {

template <int N>
struct Rows {
  int rank = 0;  // of the dimensions that are walked
  int64_t size[kMaxRank], stride[N][kMaxRank];
  int64_t count = 1, length = 1;
  int64_t step[N];

  // Where row number `row` of tensor t begins.
  int64_t offset(int64_t row, int t) const {
    int64_t at = 0;
    for (int d = rank - 1; d >= 0; --d) {
      at += row % size[d] * stride[t][d];
      row /= size[d];
    }
    return at;
  }
};

// The rows of a walk of one dimension or more, its last dimension as it is, the others in as few as possible.
template <int N>
Rows<N> rows_of(const Walk<N>& walk) {
  Rows<N> rows;
  rows.length = walk.rank > 0 ? walk.size[walk.rank - 1] : 1;
  for (int t = 0; t < N; ++t) rows.step[t] = walk.rank > 0 ? walk.stride[t][walk.rank - 1] : 1;
  for (int d = 0; d + 1 < walk.rank; ++d) {
    rows.count *= walk.size[d];
    if (walk.size[d] == 1) continue;
    bool merges = rows.rank > 0;
    for (int t = 0; t < N && merges; ++t) merges = rows.stride[t][rows.rank - 1] == walk.stride[t][d] * walk.size[d];
    if (merges) {
      rows.size[rows.rank - 1] *= walk.size[d];
    } else {
      rows.size[rows.rank++] = walk.size[d];
    }
    for (int t = 0; t < N; ++t) rows.stride[t][rows.rank - 1] = walk.stride[t][d];
  }
  return rows;
}

}  // namespace fxquant
