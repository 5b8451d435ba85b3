// The loop of a bag, on the lanes L of an ISA (base/lanes_<isa>.h), which for codes of 4 bits add
//   load_u4   float(code) of `count` codes from p on, in [1, kCount]
// Included by ISA files only.
#pragma once
#include "base/unroll.h"
#include "embedding/embedding.h"

namespace fxquant {
namespace {

// Rows come from anywhere in memory, so those of the indices to come are asked for early.
constexpr int64_t kAhead = 16, kLine = 64;

template <class Int>
inline void fetch_row(const Bags<Int>& p, int64_t j) {
  if (j >= p.indices) return;
  const auto row = static_cast<int64_t>(p.index[j]);
  const int64_t bytes = p.table.row_bytes();
  for (int64_t at = 0; at < bytes; at += kLine) __builtin_prefetch(p.table.codes + row * bytes + at);
  __builtin_prefetch(p.table.affine + 2 * row);
}

// The elements [e, e + count) of one bag, in kVectors vectors; `count` is all that these hold, or kVectors is 1.
template <class L, bool kFourBits, int kVectors, class Int>
inline void elements(const Bags<Int>& p, float* y, int64_t bag, int64_t e, int64_t count) {
  typename L::F32 sum[kVectors];
  unroll<kVectors>([&](int v) FXQUANT_UNROLLED { sum[v] = L::set(0.0F); });
  const Table& t = p.table;
  const int64_t bytes = t.row_bytes(), end = p.end(bag), lanes = kVectors > 1 ? L::kCount : count;
  float shift = 0.0F;
  int64_t members = 0;
  for (int64_t j = p.begin(bag); j < end; ++j) {
    if (e == 0) fetch_row(p, j + kAhead);
    const auto row = static_cast<int64_t>(p.index[j]);
    if (row == p.padding) continue;
    const float multiplier = p.weights ? t.scale(row) * p.weights[j] : t.scale(row);
    const auto multipliers = L::set(multiplier);
    unroll<kVectors>([&](int v) FXQUANT_UNROLLED {
      const int64_t at = e + v * L::kCount;
      typename L::F32 code;
      if constexpr (kFourBits) {
        code = L::load_u4(t.codes + row * bytes + at / 2, lanes, at % 2);
      } else {
        code = kVectors > 1 ? L::load_u8(t.codes + row * bytes + at) : L::load_u8(t.codes + row * bytes + at, lanes);
      }
      sum[v] = L::add(sum[v], L::mul(code, multipliers));
    });
    shift += t.zero_point(row) * multiplier;
    ++members;
  }
  const bool divides = p.mean && members > 0;
  const auto shifts = L::set(shift), count_of_members = L::set(divides ? static_cast<float>(members) : 1.0F);
  unroll<kVectors>([&](int v) FXQUANT_UNROLLED {
    const auto value = L::sub(sum[v], shifts);
    L::store_f32(y + e + v * L::kCount, lanes, divides ? L::div(value, count_of_members) : value);
  });
}

template <class L, bool kFourBits, class Int>
void some_bags(const Bags<Int>& p, float* y, int64_t begin, int64_t end) {
  constexpr int64_t kBlock = 4 * L::kCount;
  const int64_t width = p.table.width;
  for (int64_t bag = begin; bag < end; ++bag) {
    float* to = y + bag * width;
    int64_t e = 0;
    for (; e + kBlock <= width; e += kBlock) elements<L, kFourBits, 4>(p, to, bag, e, kBlock);
    for (; e < width; e += L::kCount) {
      elements<L, kFourBits, 1>(p, to, bag, e, width - e < L::kCount ? width - e : L::kCount);
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
