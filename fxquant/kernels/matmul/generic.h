// matmul and attention over the tiles of a Machine.
#pragma once
#include "matmul/blocks.h"
#include "matmul/probabilities.h"
#include "matmul/tile.h"

namespace fxquant {
namespace {

template <class M>
int64_t matmul_scratch_of(const Matmul& p) {
  return packed_bytes<M>(p.depth, p.columns);
}

template <class M>
void matmul_part(const Matmul& p, const MatmulOperands& operands, const MatmulPart& part) {
  const auto output = M::output(p.output);
  int64_t packed = -1;
  for_each_block(part, p.rows, [&](int64_t batch, bool is_new, int64_t begin, int64_t end) {
    const int64_t b = p.batches.offset(batch, 2);
    if (is_new && b != packed) {
      pack<M>({operands.b + b, p.depth, p.columns, p.b}, p.a_zero_point, part.scratch);
      packed = b;
    }
    const uint8_t* a = operands.a + p.batches.offset(batch, 1);
    uint8_t* y = operands.y + p.batches.offset(batch, 0);
    float multipliers[M::kRows];
    for (float& each : multipliers) each = p.multiplier;
    for_each_tile<M::kRows>(begin, end, [&](int64_t first, auto rows) {
      constexpr int kTile = decltype(rows)() + 0;
      const uint8_t* from = a + first * p.a_row;
      int32_t terms[kTile];
      for (int m = 0; m < kTile; ++m)
        terms[m] = row_term<M>(from + m * p.a_row, p.depth, p.a_zero_point, p.b_zero_point);
      const uint8_t* panel = part.scratch;
      for (int64_t c = 0; c < p.columns; c += kColumns<M>, panel += panel_bytes<M>(p.depth)) {
        typename M::Acc acc[kTile][M::kVectors];
        multiply<M, kTile>(acc, from, p.a_row, p.depth, terms, panel);
        store_tile<M, kTile>(acc, multipliers, output, y + first * p.y_row + c, p.y_row, p.columns - c);
      }
    });
  });
}

// Where a thread keeps what attention computes on the way.
template <class M>
struct AttentionScratch {
  int64_t row, keys, values, scores, probabilities, of_tile, mask, dither, size;

  explicit AttentionScratch(const Attention& p) : row(row_of_keys<M>(p.keys)), keys(0) {
    values = keys + packed_bytes<M>(p.depth, p.keys);
    scores = values + packed_bytes<M>(p.keys, p.width);
    probabilities = scores + rounded_up(kTileRows<M> * row * 4, 64);
    of_tile = rounded_up(kTileRows<M> * row, 64);
    mask = probabilities + (kOverlaps<M> ? 2 : 1) * of_tile;
    dither = mask + rounded_up(row * 4, 64);
    size = dither + rounded_up(row * 2, 64);
  }
};

template <class M>
int64_t attention_scratch_of(const Attention& p) {
  return AttentionScratch<M>(p).size;
}

template <class M>
class AttentionBlock {
 public:
  AttentionBlock(const Attention& params, const AttentionOperands& operands, uint8_t* memory)
      : p_(params), operands_(operands), at_(params), output_(M::output(params.output)) {
    keys_ = memory + at_.keys;
    values_ = memory + at_.values;
    scores_ = reinterpret_cast<float*>(memory + at_.scores);
    probabilities_ = memory + at_.probabilities;
    mask_ = reinterpret_cast<float*>(memory + at_.mask);
    dither_ = reinterpret_cast<uint16_t*>(memory + at_.dither);
    fill_dither<M>(dither_, at_.row);
  }

  void operator()(int64_t batch, bool is_new, int64_t begin, int64_t end) {
    if (is_new) pack_batch(batch);
    const uint8_t* q = operands_.q + p_.batches.offset(batch, 1);
    const int64_t mask_size = p_.mask == Mask::floats ? 4 : 1;
    const uint8_t* mask = operands_.mask + p_.batches.offset(batch, 4) * mask_size;
    uint8_t* y = operands_.y + p_.batches.offset(batch, 0);
    Weighed before{};
    NothingPending nothing;
    uint8_t *now = probabilities_, *other = probabilities_ + (kOverlaps<M> ? at_.of_tile : 0);
    for_each_tile<kTileRows<M>>(begin, end, [&](int64_t first, auto rows) {
      constexpr int kTile = decltype(rows)() + 0;
      const int64_t last = first + kTile, keys = p_.causal && last < p_.keys ? last : p_.keys;
      const QueryTile tile{first, keys, at_.row, mask, scores_, mask_, dither_, now};
      float most[kTile];
      scores<kTile>(q + first * p_.q_row, tile, most);
      PendingProbabilities<M> pending(tile, most, kTile);
      if (kOverlaps<M>) values(before, pending);
      while (pending.any()) pending.next();
      before = {kTile, keys, now, y + first * p_.y_row};
      if (!kOverlaps<M>) values<kTile>(before, nothing);
      uint8_t* const next = other;
      other = now;
      now = next;
    });
    if (kOverlaps<M>) values(before, nothing);
  }

 private:
  // The probabilities of a tile of queries, and where the values go that they weigh.
  struct Weighed {
    int rows;
    int64_t keys;
    const uint8_t* probabilities;
    uint8_t* y;
  };

  void pack_batch(int64_t batch) {
    const uint8_t* k = operands_.k + p_.batches.offset(batch, 2);
    const uint8_t* v = operands_.v + p_.batches.offset(batch, 3);
    pack_keys<M>({k, p_.depth, p_.keys, {p_.k.column, p_.k.row}}, p_.q_zero_point, keys_);
    pack<M>({v, p_.keys, p_.width, p_.v}, 0, values_);
  }

  template <int Rows>
  void scores(const uint8_t* q, const QueryTile& tile, float (&most)[Rows]) {
    int32_t terms[Rows];
    for (int m = 0; m < Rows; ++m) terms[m] = row_term<M>(q + m * p_.q_row, p_.depth, p_.q_zero_point, p_.k_zero_point);
    scores_of_tile<M, Rows>(tile, q, p_.q_row, terms, {keys_, p_.depth, p_.score_multiplier}, most);
    mask_tile<M, Rows>(p_, tile, most);
  }

  template <class Pending>
  void values(const Weighed& of, Pending& pending) {
    if (of.rows > 0) with_count<kTileRows<M>>(of.rows, [&](auto rows) { values<rows>(of, pending); });
  }

  // The values of a tile, and evenly between their products what is pending.
  template <int Rows, class Pending>
  void values(const Weighed& of, Pending& pending) {
    const int64_t panels = (p_.width + kColumns<M> - 1) / kColumns<M>, steps = (of.keys + 3) / 4;
    const int64_t count = pending.count(), all = panels * steps, distance = 0 < count && count < all ? all / count : 1;
    int64_t left = 1;
    const auto between = [&]() FXQUANT_UNROLLED {
      if (--left > 0) return;
      left = distance;
      if (pending.any()) pending.next();
    };
    int32_t totals[Rows], terms[Rows];
    float multipliers[Rows];
    sums_of_tile<M, Rows>(of.probabilities, at_.row, of.keys, totals);
    for (int m = 0; m < Rows; ++m) {
      terms[m] = (128 - p_.v_zero_point) * totals[m];
      multipliers[m] = totals[m] > 0 ? p_.value_multiplier / static_cast<float>(totals[m]) : 0.0F;
    }
    const uint8_t* panel = values_;
    for (int64_t c = 0; c < p_.width; c += kColumns<M>, panel += panel_bytes<M>(p_.keys)) {
      typename M::Acc acc[Rows][M::kVectors];
      // Behind the last key there are zeros, on both sides, up to a whole step.
      multiply<M, Rows>(acc, of.probabilities, at_.row, 4 * steps, terms, panel, between);
      store_tile<M, Rows>(acc, multipliers, output_, of.y + c, p_.y_row, p_.width - c);
    }
  }

  const Attention& p_;
  const AttentionOperands& operands_;
  const AttentionScratch<M> at_;
  const typename M::Output output_;
  uint8_t *keys_, *values_, *probabilities_;
  float *scores_, *mask_;
  uint16_t* dither_;
};

template <class M>
void attention_part(const Attention& p, const AttentionOperands& operands, const MatmulPart& part) {
  AttentionBlock<M> block(p, operands, part.scratch);
  for_each_block(part, p.queries, block);
}

template <class M>
constexpr MatmulKernels matmul_table() {
  return {matmul_scratch_of<M>, matmul_part<M>, attention_scratch_of<M>, attention_part<M>};
}

}  // namespace
}  // namespace fxquant
