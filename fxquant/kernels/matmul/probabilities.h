// From a row of scores, float32 in units of log(2), to probabilities in 255ths of the largest. For a Machine of tile.h.
#pragma once
#include "base/exponential.h"
#include "base/several.h"
#include "matmul/tile.h"

namespace fxquant {
namespace {

// to[j] = value(from[j * step]), j < count. Where elements lie side by side the compiler can use vectors.
template <class T, class Value>
inline void for_elements(const T* from, int64_t step, int64_t count, float* to, const Value& value) {
  if (step == 1) {
    for (int64_t j = 0; j < count; ++j) to[j] = value(from[j]);
  } else {
    for (int64_t j = 0; j < count; ++j) to[j] = value(from[j * step]);
  }
}

// Row `i` of a batch's mask as floats.
inline void load_mask(const AttentionLayout& p, const uint8_t* mask, int64_t i, float* to) {
  const int64_t step = p.mask_strides.column, row = i * p.mask_strides.row;
  if (p.mask == Mask::floats) {
    for_elements(reinterpret_cast<const float*>(mask) + row, step, p.keys, to, [](float given) {
      const float summand = given * kLog2E;
      return summand < -__FLT_MAX__ && given > -__builtin_inff() ? -__FLT_MAX__ : summand;
    });
  } else {
    for_elements(mask + row, step, p.keys, to, [](uint8_t given) { return given != 0 ? 0.0F : -__builtin_inff(); });
  }
}

// Elements from a row of scores or probabilities to the next: whole panels, and room for a vector behind the last key.
template <class M>
int64_t row_of_keys(int64_t keys) {
  return rounded_up(keys + M::kCount, kColumns<M> > 4 * M::kCount ? kColumns<M> : 4 * M::kCount);
}

// What scores [0, length), whole vectors, and the largest of them make of a row: probabilities in 255ths of it, then
// zeros up to four whole vectors.
template <class M>
void probabilities_of_row(const float* scores, float largest_score, int64_t length, uint8_t* p) {
  using Four = Several<M, 4>;
  int64_t j = 0;
  for (; j + Four::kCount <= length; j += Four::kCount) {
    const auto distances = Four::sub(Four::load_f32(scores + j), Four::set(largest_score));
    M::store4_bytes(p + j, power_of_2<Four>(distances, kExponential255).v);
  }
  if (j == length) return;
  const auto most = M::set(largest_score);
  const auto part = [&](int64_t j) FXQUANT_UNROLLED {
    return power_of_2<M>(M::sub(M::load_f32(scores + j), most), kExponential255);
  };
  typename M::F32 parts[4];
  unroll<4>([&](auto v) FXQUANT_UNROLLED {
    const int64_t at = j + M::kCount * v;
    parts[v] = at < length ? part(at) : M::set(0.0F);
  });
  M::store4_bytes(p + j, parts);
}

// A tile of queries [first, first + Rows): their scores, `keys` of them, and the probabilities to be made of these,
// both in rows of `stride` (row_of_keys). `mask` is the batch's, `added` has room for a row of it.
struct QueryTile {
  int64_t first, keys, stride;
  const uint8_t* mask;
  float *scores, *added;
  uint8_t* probabilities;
};

// The largest score of each row for each lane, of all keys that are packed.
template <class M, int Rows>
struct LargestScores {
  float lanes[Rows][M::kCount];

  LargestScores() {
    for (auto& row : lanes) M::store_f32(row, M::set(-__builtin_inff()));
  }
  float of_row(int m) const { return M::largest(M::load_f32(lanes[m])); }
};

// A panel's scores, of the accumulators of a tile, to rows `stride` apart. What is the largest stays in memory, for
// accumulators need the registers.
template <class M, int Rows>
FXQUANT_UNROLLED inline void store_scores(const typename M::Acc (&acc)[Rows][M::kVectors], typename M::F32 multiplier,
                                          float* to, int64_t stride, LargestScores<M, Rows>& largest) {
  float* most = largest.lanes[0];
  asm volatile("" : "+r"(most));
  unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
    auto found = M::load_f32(most + m * M::kCount);
    unroll<M::kVectors>([&](auto v) FXQUANT_UNROLLED {
      const auto scores = M::mul(M::to_float(acc[m][v]), multiplier);
      M::store_f32(to + m * stride + M::kCount * v, scores);
      found = M::greater(scores, found);
    });
    M::store_f32(most + m * M::kCount, found);
  });
}

// Whether query `i` sees every key, as most do where examples are as long as the longest.
inline bool sees_all(const AttentionLayout& p, const uint8_t* mask, int64_t i) {
  if (p.causal || p.mask == Mask::none) return !p.causal;
  if (p.mask == Mask::floats || p.mask_strides.column != 1) return false;
  const uint8_t* row = mask + i * p.mask_strides.row;
  uint8_t least = 1;
  for (int64_t j = 0; j < p.keys; ++j) least = row[j] < least ? row[j] : least;
  return least > 0;
}

// Adds the mask to row `m` of scores, which has `length` with what pads it; `all` is of sees_all. What is taken out
// becomes -inf. A mask that all queries share is loaded with the first one.
template <class M>
void mask_row(const AttentionLayout& p, const QueryTile& tile, int m, int64_t length, bool all) {
  float* t = tile.scores + m * tile.stride;
  const int64_t i = tile.first + m, end = p.causal && i + 1 < tile.keys ? i + 1 : tile.keys;
  if (p.mask != Mask::none && !all) {
    if (m == 0 || p.mask_strides.row != 0) load_mask(p, tile.mask, i, tile.added);
    for (int64_t j = 0; j < tile.keys; ++j) t[j] += tile.added[j];
  }
  for (int64_t j = end; j < length; j += M::kCount) M::store_f32(t + j, M::set(-__builtin_inff()));
}

// The probabilities of a tile, and the sum of each row; `found` is of store_scores, from keys that pack_keys packed,
// and holds where every query sees every key. Each step takes all rows before the next one begins, so that a CPU
// computes several rows at once while it waits for the largest or the sum of one.
template <class M, int Rows>
void probabilities_of_tile(const AttentionLayout& p, const QueryTile& tile, const LargestScores<M, Rows>& found,
                           int32_t (&totals)[Rows]) {
  const int64_t length = rounded_up(tile.keys, M::kCount < 4 ? 4 : M::kCount);  // whole vectors, and whole steps
  float most[Rows];
  for (int m = 0; m < Rows; ++m) {
    const bool all = sees_all(p, tile.mask, tile.first + m);
    mask_row<M>(p, tile, m, length, all);
    most[m] = all ? found.of_row(m) : largest<M>(tile.scores + m * tile.stride, length);
  }
  for (int m = 0; m < Rows; ++m) {
    const int64_t at = m * tile.stride;
    probabilities_of_row<M>(tile.scores + at, most[m], length, tile.probabilities + at);
  }
  const int64_t summands = rounded_up(length, 4 * M::kCount);
  for (int m = 0; m < Rows; ++m) totals[m] = sum_of<M>(tile.probabilities + m * tile.stride, summands);
}

}  // namespace
}  // namespace fxquant
