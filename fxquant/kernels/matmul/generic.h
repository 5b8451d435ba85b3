// matmul and attention over the tiles of a Machine.
#pragma once
#include "matmul/weighing.h"

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
      PerRow<int32_t, kTile> terms;
      terms_of_rows<M>(from, p.a_row, p.depth, p.a_zero_point, p.b_zero_point, terms);
      const uint8_t* panel = part.scratch;
      for (int64_t c = 0; c < p.columns; c += kColumns<M>, panel += panel_bytes<M>(p.depth)) {
        typename M::Acc acc[kTile][M::kVectors];
        multiply<M>(acc, from, p.a_row, p.depth, panel);
        add_terms<M>(acc, terms.of);
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
    mask = probabilities + kKeptTiles<M> * of_tile;
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
    for_each_weighed_tile<M>(
        begin, end, probabilities_, at_.of_tile,
        [&](int64_t first, uint8_t* probabilities, auto& most) {
          const int64_t last = first + most.kRows, keys = p_.causal && last < p_.keys ? last : p_.keys;
          const QueryTile tile{first, keys, at_.row, mask, scores_, mask_, dither_, probabilities};
          scores(q + first * p_.q_row, tile, most);
          return tile;
        },
        [&](const WeighedTile& tile, auto rows, auto& pending) {
          values<rows>(tile, y + tile.first * p_.y_row, pending);
        });
  }

 private:
  void pack_batch(int64_t batch) {
    const uint8_t* k = operands_.k + p_.batches.offset(batch, 2);
    const uint8_t* v = operands_.v + p_.batches.offset(batch, 3);
    pack_keys<M>({k, p_.depth, p_.keys, {p_.k.column, p_.k.row}}, p_.q_zero_point, keys_);
    pack<M>({v, p_.keys, p_.width, p_.v}, 0, values_);
  }

  template <int Rows>
  void scores(const uint8_t* q, const QueryTile& tile, PerRow<float, Rows>& most) {
    PerRow<int32_t, Rows> terms;
    terms_of_rows<M>(q, p_.q_row, p_.depth, p_.q_zero_point, p_.k_zero_point, terms);
    scores_of_tile<M, Rows>(tile, {q, p_.q_row, terms.of}, {keys_, p_.depth, p_.score_multiplier}, most);
    mask_tile<M, Rows>(p_, tile, most);
  }

  template <int Rows, class Pending>
  void values(const WeighedTile& tile, uint8_t* y, Pending& pending) {
    const int64_t distance = steps_between<M>(pending, tile.keys, p_.width);
    PerRow<int32_t, Rows> totals, terms;
    PerRow<float, Rows> multipliers;
    sums_of_tile<M>(tile.probabilities, at_.row, tile.keys, totals);
    for (int m = 0; m < totals.kSize; ++m) {
      const int32_t total = totals.of[m];
      const float share = p_.value_multiplier / static_cast<float>(total > 0 ? total : 1);
      multipliers.of[m] = total > 0 ? share : 0.0F;  // no branch: all rows are one vector
      terms.of[m] = (128 - p_.v_zero_point) * total;
    }
    const uint8_t* panel = values_;
    for (int64_t c = 0; c < p_.width; c += kColumns<M>, panel += panel_bytes<M>(p_.keys)) {
      typename M::Acc acc[Rows][M::kVectors];
      weigh<M>(acc, tile, at_.row, panel, distance, pending);
      add_terms<M>(acc, terms.of);
      store_tile<M, Rows>(acc, multipliers.of, output_, y + c, p_.y_row, p_.width - c);
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
