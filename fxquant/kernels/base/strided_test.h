// Random shapes and layouts for the tests of families that run over walks.
#pragma once
#include <algorithm>
#include <iterator>

#include "base/requantize.h"
#include "base/strided.h"
#include "base/test.h"

namespace fxquant {

// Sizes around the widths of vectors and tiles; `limit` bounds their product.
inline int random_shape(Random& random, int64_t limit, int64_t (&size)[kMaxRank]) {
  constexpr int64_t kSizes[] = {1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 24, 31, 33, 63, 64, 65, 127, 130, 257};
  const int rank = static_cast<int>(random.integer(0, 5));
  int64_t count = 1;
  for (int d = 0; d < rank; ++d) {
    do {
      size[d] = kSizes[random.integer(0, std::size(kSizes) - 1)];
    } while (count * size[d] > limit);
    count *= size[d];
  }
  return rank;
}

// Gives tensor t of `walk` strides: dimensions in the given order, dimension 1 last (channels_last) or any order; half
// of the time with gaps; with `broadcast`, a stride of 0 in some. Returns how many elements its buffer needs.
template <int N>
int64_t random_layout(Random& random, Walk<N>& walk, int t, bool broadcast) {
  std::vector<int> order;
  for (int d = 0; d < walk.rank; ++d) order.push_back(d);
  const int64_t kind = random.integer(0, 3);
  if (kind == 1 && walk.rank > 2) std::rotate(order.begin() + 1, order.begin() + 2, order.end());
  for (int i = walk.rank - 1; kind == 2 && i > 0; --i) std::swap(order[i], order[random.integer(0, i)]);
  const bool gaps = random.integer(0, 1) == 1;
  int64_t extent = 1, last = 0;
  for (int i = walk.rank - 1; i >= 0; --i) {
    const int d = order[i];
    const bool still = broadcast && random.integer(0, 4) == 0;
    walk.stride[t][d] = still ? 0 : extent;
    if (still) continue;
    last += (walk.size[d] - 1) * extent;
    extent = extent * walk.size[d] + (gaps ? random.integer(0, 3) : 0);
    if (gaps && i == walk.rank - 1 && random.integer(0, 3) == 0) {
      walk.stride[t][d] = 2;
      last *= 2;
      extent *= 2;
    }
  }
  return last + 1;
}

inline void fill_random(Random& random, Guarded<uint8_t>& buffer) {
  for (size_t i = 0; i < buffer.size(); ++i) buffer[i] = static_cast<uint8_t>(random.integer(0, 255));
}

// Zero points at both ends and between, bounds wide and narrow.
inline int32_t random_zero_point(Random& random) {
  constexpr int32_t kZeroPoints[] = {0, 255, 128};
  const int64_t which = random.integer(0, 3);
  return which < 3 ? kZeroPoints[which] : static_cast<int32_t>(random.integer(0, 255));
}

inline Requantize random_output(Random& random) {
  Requantize output;
  output.zero_point = random_zero_point(random);
  if (random.integer(0, 1) == 1) {
    output.quant_min = static_cast<int32_t>(random.integer(0, 255));
    output.quant_max = static_cast<int32_t>(random.integer(output.quant_min, 255));
  }
  return output;
}

// The whole buffers, gaps between elements included.
template <class T>
void expect_same(Guarded<T>& actual, Guarded<T>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_EQ(std::memcmp(actual.data() + i, expected.data() + i, sizeof(T)), 0)
        << "element " << i << ": " << +actual[i] << ", not " << +expected[i];
  }
}

// Checks that run(isa, threads) writes `expected` to `y`, on every ISA and several numbers of threads.
template <class T, class Run>
void check_every_isa(Guarded<T>& y, Guarded<T>& expected, const Run& run) {
  for (const Isa isa : supported_isas()) {
    for (const int threads : {1, 2, 3}) {
      SCOPED_TRACE(testing::Message() << isa_name(isa) << ", " << threads << " threads");
      y.fill(static_cast<T>(0xA5));
      run(isa, threads);
      expect_same(y, expected);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

}  // namespace fxquant
