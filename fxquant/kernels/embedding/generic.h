// The loop of a bag, on the lanes L of an ISA (base/lanes_<isa>.h), which add
//   load_u4        float(code) of kCount codes from the one at `at` on of those at p; `at` is even if kCount is
//   load_u4_of     float(code) of the `count` codes at p, less than kCount
// Included by ISA files only.
#pragma once
#include <cmath>

#include "base/unroll.h"
#include "embedding/embedding.h"

namespace fxquant {
namespace {

// Rows come from anywhere in memory, so those of the indices to come are asked for early, unless caches hold the table.
constexpr int64_t kAhead = 32, kLine = 64, kCached = 1 << 18;
// Vectors whose sums are in registers at once: what else a row takes is done once for all of them.
constexpr int kMost = 8;

// Inlined by command: gcc takes a function that only prefetches for one without effects, and drops its calls.
template <class Int>
FXQUANT_UNROLLED inline void fetch_row(const Bags<Int>& p, int64_t j) {
  if (j >= p.indices) return;
  const auto row = static_cast<int64_t>(p.index[j]);
  const int64_t bytes = p.table.row_bytes();
  for (int64_t at = 0; at < bytes; at += kLine) __builtin_prefetch(p.table.codes + row * bytes + at);
  __builtin_prefetch(p.table.affine + 2 * row);
}

// The elements [e, e + count) of one bag, in kVectors vectors, of which the last one ends where the elements end and so
// overlaps the one before; a count below kCount takes one vector, a part of it.
template <class L, bool kFourBits, int kVectors, bool kPart, class Int>
inline void elements(const Bags<Int>& p, float* y, int64_t bag, int64_t e, int64_t count, bool fetches) {
  typename L::F32 sum[kVectors];
  unroll<kVectors>([&](int v) FXQUANT_UNROLLED { sum[v] = L::set(0.0F); });
  const Table& t = p.table;
  const int64_t bytes = t.row_bytes(), begin = p.begin(bag), end = p.end(bag);
  // A byte of two codes is the last vector's as a whole, so of an odd count that one begins an element later.
  const int64_t odd = kFourBits && L::kCount > 1 ? count % 2 : 0, last = kPart ? 0 : count + odd - L::kCount;
  const uint8_t* codes = t.codes + (kFourBits ? e / 2 : e);
  float shift = 0.0F;
  int64_t members = 0;
  for (int64_t j = begin; j < end; ++j) {
    if (fetches) fetch_row(p, j + kAhead);
    const auto row = static_cast<int64_t>(p.index[j]);
    if (row == p.padding) continue;
    const float multiplier = p.weights ? t.scale(row) * p.weights[j] : t.scale(row);
    const auto multipliers = L::set(multiplier);
    const uint8_t* from = codes + row * bytes;
    unroll<kVectors>([&](auto v) FXQUANT_UNROLLED {
      const int64_t at = v + 1 == kVectors ? last : v * L::kCount;
      typename L::F32 code;
      if constexpr (kFourBits) {
        code = kPart ? L::load_u4_of(from, count) : L::load_u4(from, at);
      } else {
        code = kPart ? L::load_u8(from, count) : L::load_u8(from + at);
      }
      sum[v] = L::multiply_add(code, multipliers, sum[v]);
    });
    shift = std::fma(t.zero_point(row), multiplier, shift);
    ++members;
  }
  const bool divides = p.mean && members > 0;
  const auto shifts = L::set(shift), count_of_members = L::set(divides ? static_cast<float>(members) : 1.0F);
  unroll<kVectors>([&](auto v) FXQUANT_UNROLLED {
    const auto value = L::sub(sum[v], shifts), result = divides ? L::div(value, count_of_members) : value;
    if constexpr (v + 1 < kVectors) return L::store_f32(y + e + v * L::kCount, result);
    L::store_f32(y + e + last, kPart ? count : L::kCount - odd, result);
  });
}

template <class L, bool kFourBits, int kVectors, class Int>
inline void some_elements(const Bags<Int>& p, float* y, int64_t bag, int64_t e, int64_t count, bool fetches) {
  if constexpr (kVectors > 1) {
    if (count <= (kVectors - 1) * L::kCount) {
      return some_elements<L, kFourBits, kVectors - 1>(p, y, bag, e, count, fetches);
    }
  } else if (count < L::kCount) {
    return elements<L, kFourBits, 1, true>(p, y, bag, e, count, fetches);
  }
  elements<L, kFourBits, kVectors, false>(p, y, bag, e, count, fetches);
}

template <class L, bool kFourBits, class Int>
void some_bags(const Bags<Int>& p, float* y, int64_t begin, int64_t end) {
  constexpr int64_t kBlock = kMost * L::kCount;
  const int64_t width = p.table.width;
  const bool far = p.table.rows * p.table.row_bytes() > kCached;
  for (int64_t bag = begin; bag < end; ++bag) {
    for (int64_t e = 0; e < width; e += kBlock) {
      const int64_t count = width - e < kBlock ? width - e : kBlock;
      some_elements<L, kFourBits, kMost>(p, y + bag * width, bag, e, count, far && e == 0);
    }
  }
}

template <class L, class Int>
void bags(const Bags<Int>& p, float* y, int64_t begin, int64_t end) {
  return p.table.four_bits ? some_bags<L, true>(p, y, begin, end) : some_bags<L, false>(p, y, begin, end);
}

template <class L>
constexpr EmbeddingKernels embedding_table() {
  return {bags<L, int32_t>, bags<L, int64_t>};
}

}  // namespace
}  // namespace fxquant
