// From a row of scores, float32 in units of log(2), to probabilities in 255ths of the largest. For a Machine of tile.h.
#pragma once
#include "base/exponential.h"
#include "matmul/dither.h"
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

// Elements of a row of `keys`, with what pads it to whole vectors and whole steps.
template <class M>
int64_t whole_vectors(int64_t keys) {
  return rounded_up(keys, M::kCount < 4 ? 4 : M::kCount);
}

// How attention takes its queries: where a Machine has registers to spare beside a tile of kOverlappedRows, it can
// compute the probabilities of a tile between the products of another.
template <class M>
constexpr bool kOverlaps = M::kOverlappedRows > 0;
template <class M>
constexpr int kTileRows = kOverlaps<M> ? M::kOverlappedRows : M::kRows;

// What is added to the probabilities of a row of `count` keys (row_of_keys), as store4_high_bytes takes it.
template <class M>
void fill_dither(uint16_t* to, int64_t count) {
  for (int64_t j = 0; j < count; j += 4 * M::kCount) {
    float values[4 * M::kCount];
    for (int64_t i = 0; i < 4 * M::kCount; ++i) values[i] = static_cast<float>(dither(j + i));
    typename M::F32 parts[4];
    unroll<4>([&](auto v) FXQUANT_UNROLLED { parts[v] = M::load_f32(values + M::kCount * v); });
    M::store4_words(to + j, parts);
  }
}

// A tile of queries [first, first + Rows): their scores, `keys` of them, and the probabilities to be made of these,
// both in rows of `stride` (row_of_keys). `mask` is the batch's, `added` has room for a row of it; `dither` is of
// fill_dither.
struct QueryTile {
  int64_t first, keys, stride;
  const uint8_t* mask;
  float *scores, *added;
  const uint16_t* dither;
  uint8_t* probabilities;
};

// The probabilities of a tile whose scores are masked, four vectors of a row at a time. A caller computes something
// else between them: products, say, which other units of a CPU make than what exponentials are mostly made of. Behind
// the last vector of a row that has keys are zeros, up to four whole vectors.
template <class M>
class PendingProbabilities {
 public:
  // largest_scores: of each of the tile's `rows` rows.
  PendingProbabilities(const QueryTile& tile, const float* largest_scores, int rows)
      : scores_(tile.scores),
        largest_(largest_scores),
        dither_(tile.dither),
        p_(tile.probabilities),
        stride_(tile.stride),
        length_(whole_vectors<M>(tile.keys)),
        left_(length_),
        rows_(length_ > 0 ? rows : 0) {}

  int64_t count() const { return rows_ * (rounded_up(length_, kTogether) / kTogether); }
  FXQUANT_UNROLLED bool any() const { return rows_ > 0; }
  FXQUANT_UNROLLED void next() {
    if (left_ >= kTogether) {
      make([](int) FXQUANT_UNROLLED { return true; });
    } else {
      make([&](int v) FXQUANT_UNROLLED { return M::kCount * v < left_; });
    }
    scores_ += kTogether;
    dither_ += kTogether;
    p_ += kTogether;
    left_ -= kTogether;
    if (left_ <= 0) next_row();
  }

 private:
  static constexpr int64_t kTogether = 4 * M::kCount;

  // exists: whether a row has scores for vector v of four.
  template <class Exists>
  FXQUANT_UNROLLED void make(const Exists& exists) {
    const auto most = M::set(*largest_);
    const auto& coefficients = *unread(&kExponential65280);  // in registers they would displace accumulators
    typename M::F32 parts[4];
    unroll<4>([&](auto v) FXQUANT_UNROLLED {
      const auto t = [&]() FXQUANT_UNROLLED { return M::sub(M::load_f32(scores_ + M::kCount * v), most); };
      parts[v] = exists(v) ? power_of_2<M>(t(), coefficients) : M::set(0.0F);
    });
    M::store4_high_bytes(p_, parts, dither_);
  }
  FXQUANT_UNROLLED void next_row() {
    const int64_t taken = length_ - left_;
    scores_ += stride_ - taken;
    p_ += stride_ - taken;
    dither_ -= taken;
    left_ = length_;
    ++largest_;
    --rows_;
  }

  const float *scores_, *largest_;
  const uint16_t* dither_;
  uint8_t* p_;
  int64_t stride_, length_, left_;
  int rows_;
};

// None of them.
struct NothingPending {
  static constexpr int64_t count() { return 0; }
  static constexpr bool any() { return false; }
  FXQUANT_UNROLLED void next() {}
};

// The packed keys, and what turns a product of a query with them into a score.
struct PackedKeys {
  const uint8_t* panels;
  int64_t depth;
  float multiplier;
};

// Queries of a tile, `stride` apart, and the third term of tile.h for each.
struct TileQueries {
  const uint8_t* data;
  int64_t stride;
  const int32_t* terms;
};

// Scores of a tile and the largest of each row: of all keys, if pack_keys packed them. Of the last panel half is left
// out if half is padding.
template <class M, int Rows>
void scores_of_tile(const QueryTile& tile, const TileQueries& q, const PackedKeys& keys, PerRow<float, Rows>& largest) {
  constexpr int kHalf = M::kVectors / 2;
  // Copies: for all the compiler knows, stores of scores could change the originals.
  const int64_t stride = tile.stride, row = q.stride, depth = keys.depth;
  const uint8_t *queries = q.data, *panel = keys.panels;
  const int32_t* terms = q.terms;
  const auto multiplier = M::set(keys.multiplier);
  float* to = tile.scores;
  typename M::F32 most[Rows];
  unroll<Rows>([&](auto m) FXQUANT_UNROLLED { most[m] = M::set(-__builtin_inff()); });
  const auto take_panel = [&](auto vectors) FXQUANT_UNROLLED {
    constexpr int kVectors = decltype(vectors)() + 0;
    typename M::Acc acc[Rows][kVectors];
    multiply<M>(acc, queries, row, depth, panel);
    add_terms<M>(acc, terms);
    unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
      unroll<kVectors>([&](auto v) FXQUANT_UNROLLED {
        const auto scores = M::mul(M::to_float(acc[m][v]), multiplier);
        M::store_f32(to + m * stride + M::kCount * v, scores);
        most[m] = M::greater(scores, most[m]);
      });
    });
    panel += panel_bytes<M>(depth);
    to += kColumns<M>;
  };
  int64_t left = tile.keys;
  for (; left > kHalf * M::kCount; left -= kColumns<M>) take_panel(Index<M::kVectors>{});
  if (left > 0) take_panel(Index<kHalf>{});
  largest_of<M>(most, largest);
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

// Masks the scores of a tile; `most` are the largest of each row, before and after. Where all rows are alike and see
// every key, that is what pads them.
template <class M, int Rows>
void mask_tile(const AttentionLayout& p, const QueryTile& tile, PerRow<float, Rows>& most) {
  const int64_t length = whole_vectors<M>(tile.keys);
  const bool alike = p.mask == Mask::none || p.mask_strides.row == 0;
  if (alike && sees_all(p, tile.mask, tile.first)) {
    for (int64_t j = tile.keys, count; j < length; j += count) {
      count = M::kCount - j % M::kCount;
      unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
        M::store_f32(tile.scores + m * tile.stride + j, count, M::set(-__builtin_inff()));
      });
    }
    return;
  }
  for (int m = 0; m < Rows; ++m) {
    const bool all = !alike && sees_all(p, tile.mask, tile.first + m);
    mask_row<M>(p, tile, m, length, all);
    if (!all) most.of[m] = largest<M>(tile.scores + m * tile.stride, length);
  }
}

// The sum of each row's probabilities.
template <class M, int Rows>
FXQUANT_UNROLLED inline void sums_of_tile(const uint8_t* probabilities, int64_t stride, int64_t keys,
                                          PerRow<int32_t, Rows>& totals) {
  sums_of_rows<M>(probabilities, stride, rounded_up(whole_vectors<M>(keys), 4 * M::kCount), totals);
}

}  // namespace
}  // namespace fxquant
