// Attention over the tiles of a Machine (matmul/tile.h). Of a batch keys and values become codes and are packed; then
// for each tile of queries come codes, scores, probabilities and results, all while they are in the cache. Included by
// ISA files only.
#pragma once
#include "dynamic_attention/codes.h"
#include "dynamic_attention/dynamic_attention.h"
#include "matmul/weighing.h"

namespace fxquant {
namespace {

// Where a thread keeps what it computes on the way, in bytes.
template <class M>
struct DynamicAttentionScratch {
  int64_t row, code_row, keys, values, codes, queries, scores, probabilities, of_tile, mask, dither, scales, gathered,
      size;

  explicit DynamicAttentionScratch(const FloatAttention& p) {
    const int64_t longest = rounded_up(p.depth > p.width ? p.depth : p.width, 64);
    row = row_of_keys<M>(p.keys);
    code_row = longest;
    keys = 0;
    values = keys + packed_bytes<M>(p.depth, p.keys);
    codes = values + packed_bytes<M>(p.keys, p.width);
    queries = codes + p.keys * code_row;
    scores = queries + kTileRows<M> * code_row;
    probabilities = scores + rounded_up(kTileRows<M> * row * 4, 64);
    of_tile = rounded_up(kTileRows<M> * row, 64);
    mask = probabilities + kKeptTiles<M> * of_tile;
    dither = mask + rounded_up(row * 4, 64);
    scales = dither + rounded_up(row * 2, 64);
    gathered = scales + longest * 4;
    size = gathered + longest * 4;
  }
};

template <class M>
int64_t dynamic_attention_scratch_of(const FloatAttention& p) {
  return DynamicAttentionScratch<M>(p).size;
}

template <class M>
class DynamicAttentionBlock {
 public:
  DynamicAttentionBlock(const FloatAttention& params, const FloatAttentionOperands& operands, uint8_t* memory)
      : p_(params), operands_(operands), at_(params), memory_(memory) {
    fill_dither<M>(dither(), at_.row);
  }

  void operator()(int64_t batch, bool is_new, int64_t begin, int64_t end) {
    if (is_new) prepare(batch);
    const float* q = operands_.q + p_.batches.offset(batch, 1);
    const uint8_t* mask = operands_.mask;
    if (p_.mask != Mask::none) mask += p_.batches.offset(batch, 4) * (p_.mask == Mask::floats ? 4 : 1);
    float* y = operands_.y + p_.batches.offset(batch, 0);
    for_each_weighed_tile<M>(
        begin, end, memory_ + at_.probabilities, at_.of_tile,
        [&](int64_t first, uint8_t* probabilities, auto& most) {
          const int64_t last = first + most.kRows, keys = p_.causal && last < p_.keys ? last : p_.keys;
          const QueryTile tile{first,    keys,         at_.row, mask, floats(at_.scores), floats(at_.mask),
                               dither(), probabilities};
          scores(q + first * p_.q_row, tile, most);
          return tile;
        },
        [&](const WeighedTile& tile, auto rows, auto& pending) {
          values<rows>(tile, y + tile.first * p_.y_row, pending);
        });
  }

 private:
  uint16_t* dither() { return reinterpret_cast<uint16_t*>(memory_ + at_.dither); }
  float* floats(int64_t offset) { return reinterpret_cast<float*>(memory_ + offset); }

  SourceRows rows_of(const float* data, int64_t count, int64_t length, const Matrix& strides) {
    return {data, count, length, strides, floats(at_.gathered)};
  }

  // Scales of a batch; its keys and values packed.
  void prepare(int64_t batch) {
    uint8_t* codes = memory_ + at_.codes;
    const SourceRows q = rows_of(operands_.q + p_.batches.offset(batch, 1), p_.queries, p_.depth, {p_.q_row, 1});
    const SourceRows k = rows_of(operands_.k + p_.batches.offset(batch, 2), p_.keys, p_.depth, p_.k);
    const SourceRows v = rows_of(operands_.v + p_.batches.offset(batch, 3), p_.keys, p_.width, p_.v);
    q_scale_ = scale_of_all<M>(q);
    const float k_scale = scale_of_all<M>(k);
    multiplier_ = q_scale_ * k_scale * p_.scale * kLog2E;
    poison_ = 0.0F * (q_scale_ + k_scale);
    codes_of_all<M>(k, k_scale, codes, at_.code_row);
    pack_keys<M>({codes, p_.depth, p_.keys, {1, at_.code_row}}, kMiddle, memory_ + at_.keys);
    scales_of_columns<M>(v, floats(at_.scales));
    codes_of_columns<M>(v, floats(at_.scales), codes, at_.code_row);
    pack<M>({codes, p_.keys, p_.width, {at_.code_row, 1}}, 0, memory_ + at_.values);
  }

  template <int Rows>
  void scores(const float* q, const QueryTile& tile, PerRow<float, Rows>& most) {
    codes_of_all<M>(rows_of(q, Rows, p_.depth, {p_.q_row, 1}), q_scale_, memory_ + at_.queries, at_.code_row);
    const PerRow<int32_t, Rows> no_terms;
    scores_of_tile<M, Rows>(tile, {memory_ + at_.queries, at_.code_row, no_terms.of},
                            {memory_ + at_.keys, p_.depth, multiplier_}, most);
    mask_tile<M, Rows>(p_, tile, most);
  }

  // The values of a tile, and evenly between their products what is pending.
  template <int Rows, class Pending>
  void values(const WeighedTile& tile, float* y, Pending& pending) {
    const int64_t distance = steps_between<M>(pending, tile.keys, p_.width);
    PerRow<int32_t, Rows> totals;
    PerRow<float, Rows> all_shares;
    sums_of_tile<M>(tile.probabilities, at_.row, tile.keys, totals);
    for (int m = 0; m < totals.kSize; ++m) {
      const int32_t total = totals.of[m];
      const float share = 1.0F / static_cast<float>(total > 0 ? total : 1);
      all_shares.of[m] = (total > 0 ? share : 0.0F) + poison_;  // no branch: all rows are one vector
    }
    const float* shares = all_shares.of;
    const uint8_t* panel = memory_ + at_.values;
    for (int64_t c = 0; c < p_.width; c += kColumns<M>, panel += panel_bytes<M>(p_.keys)) {
      typename M::Acc acc[Rows][M::kVectors];
      weigh<M>(acc, tile, at_.row, panel, distance, pending);
      unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
        const auto share = M::set(unread(shares)[m]);
        unroll<M::kVectors>([&](auto v) FXQUANT_UNROLLED {
          const int64_t first = c + M::kCount * v, left = p_.width - first;
          if (left <= 0) return;
          const auto value = M::mul(M::mul(M::to_float(acc[m][v]), share), M::load_f32(floats(at_.scales) + first));
          M::store_f32(y + m * p_.y_row + first, left < M::kCount ? left : M::kCount, value);
        });
      });
    }
  }

  const FloatAttention& p_;
  const FloatAttentionOperands& operands_;
  const DynamicAttentionScratch<M> at_;
  uint8_t* memory_;
  float q_scale_ = 0.0F, multiplier_ = 0.0F, poison_ = 0.0F;  // poison: NaN, or 0
};

template <class M>
void dynamic_attention_part(const FloatAttention& p, const FloatAttentionOperands& operands, const MatmulPart& part) {
  DynamicAttentionBlock<M> block(p, operands, part.scratch);
  for_each_block(part, p.queries, block);
}

template <class M>
constexpr DynamicAttentionKernels dynamic_attention_table() {
  return {dynamic_attention_scratch_of<M>, dynamic_attention_part<M>};
}

}  // namespace
}  // namespace fxquant
