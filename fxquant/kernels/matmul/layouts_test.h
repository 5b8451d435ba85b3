// What tests of products share: sizes with all remainders, and batches of matrices of any strides.
#pragma once
#include "base/strided_test.h"
#include "matmul/matmul.h"

namespace fxquant {
namespace {

inline int64_t any_size(Random& random) {
  constexpr int64_t kSizes[] = {1, 2, 3, 4, 5, 8, 13, 14, 15, 16, 17, 27, 31, 32, 33, 48, 61, 64, 65, 100};
  return kSizes[random.integer(0, std::size(kSizes) - 1)];
}

// A batch of matrices in one buffer, each row or each column side by side, or neither; with gaps.
struct Layout {
  Matrix strides;
  int64_t batch, extent;

  Layout(Random& random, int64_t batches, int64_t rows, int64_t columns, bool dense_rows) {
    const int64_t kind = dense_rows ? 0 : random.integer(0, 2), gap = random.integer(0, 1) * random.integer(0, 5);
    const int64_t step = kind == 2 ? 2 : 1;
    strides = kind == 1 ? Matrix{1, rows + gap} : Matrix{step * columns + gap, step};
    const int64_t one = (rows - 1) * strides.row + (columns - 1) * strides.column + 1;
    batch = batches > 1 && random.integer(0, 3) == 0 && !dense_rows ? 0 : one + gap;
    extent = (batches - 1) * batch + one;
  }
};

template <int N>
Rows<N> batches_of(int64_t count, const int64_t (&strides)[N]) {
  Rows<N> rows;
  rows.rank = 1;
  rows.count = rows.size[0] = count;
  for (int t = 0; t < N; ++t) rows.stride[t][0] = strides[t];
  return rows;
}

template <class Check>
void check_many(int cases, const Check& check) {
  for (int i = 0; i < cases; ++i) {
    SCOPED_TRACE(testing::Message() << "case " << i << " of seed " << test_seed());
    Random random(static_cast<uint32_t>(i));
    check(random, random.integer(1, 5));
    if (testing::Test::HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace fxquant
