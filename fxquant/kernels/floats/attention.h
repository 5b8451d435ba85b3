// Attention of floats. Of a batch, keys and values are packed into panels of kColumns columns, [k][kColumns], zeros
// behind the last column; then for each tile of rows come scores, probabilities and results, all while they are in
// the cache. Included by ISA files only.
#pragma once
#include <cstddef>

#include "floats/generic.h"
#include "matmul/blocks.h"

namespace fxquant {
namespace {

constexpr int kVectors = 2;
template <class L>
constexpr int64_t kColumns = kVectors * L::kCount;

inline int64_t up_to(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

// Where a thread keeps what it computes on the way, in floats.
template <class L, int MostRows>
struct FloatScratch {
  int64_t row, values, scores, mask, size;

  explicit FloatScratch(const FloatAttention& p) : row(up_to(p.keys, kPartials)) {
    values = up_to(row * p.depth, 16);
    scores = values + up_to(up_to(p.width, kColumns<L>) * p.keys, 16);
    mask = scores + MostRows * row;
    size = mask + row;
  }
};

template <class L, int MostRows>
int64_t float_attention_scratch_of(const FloatAttention& p) {
  return FloatScratch<L, MostRows>(p).size * 4;
}

// Element (k, c) of `from` to panel c / kColumns.
template <class L>
void pack_floats(const float* from, int64_t depth, int64_t columns, const Matrix& strides, float* panel) {
  for (int64_t first = 0; first < columns; first += kColumns<L>, panel += depth * kColumns<L>) {
    const int64_t left = columns - first, count = left < kColumns<L> ? left : kColumns<L>;
    for (int64_t k = 0; k < depth; ++k) {
      float* to = panel + k * kColumns<L>;
      const float* source = from + k * strides.row + first * strides.column;
      if (strides.column == 1) {
        __builtin_memcpy(to, source, static_cast<size_t>(count) * 4);
      } else {
        for (int64_t c = 0; c < count; ++c) to[c] = source[c * strides.column];
      }
      for (int64_t c = count; c < kColumns<L>; ++c) to[c] = 0.0F;
    }
  }
}

template <class L, int Rows>
FXQUANT_UNROLLED inline void multiply_floats(typename L::F32 (&acc)[Rows][kVectors], const float* a, int64_t a_row,
                                             int64_t depth, const float* panel) {
  unroll<Rows>([&](auto m)
                   FXQUANT_UNROLLED { unroll<kVectors>([&](auto v) FXQUANT_UNROLLED { acc[m][v] = L::set(0.0F); }); });
  for (int64_t k = 0; k < depth; ++k, ++a, panel += kColumns<L>) {
    typename L::F32 b[kVectors];
    unroll<kVectors>([&](auto v) FXQUANT_UNROLLED { b[v] = L::load_f32(panel + v * L::kCount); });
    unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
      const auto x = L::set(a[m * a_row]);
      unroll<kVectors>([&](auto v) FXQUANT_UNROLLED { acc[m][v] = L::add(acc[m][v], L::mul(x, b[v])); });
    });
  }
}

template <class L, int MostRows>
class FloatAttentionBlock {
 public:
  FloatAttentionBlock(const FloatAttention& params, const FloatAttentionOperands& operands, uint8_t* memory)
      : p_(params), operands_(operands), at_(params), keys_(reinterpret_cast<float*>(memory)) {
    values_ = keys_ + at_.values;
    scores_ = keys_ + at_.scores;
    mask_ = keys_ + at_.mask;
  }

  void operator()(int64_t batch, bool is_new, int64_t begin, int64_t end) {
    if (is_new) pack_batch(batch);
    const float* q = operands_.q + p_.batches.offset(batch, 1);
    const uint8_t* mask = operands_.mask + p_.batches.offset(batch, 4) * (p_.mask == Mask::floats ? 4 : 1);
    float* y = operands_.y + p_.batches.offset(batch, 0);
    for_each_tile<MostRows>(begin, end, [&](int64_t first, auto rows) {
      constexpr int kTile = decltype(rows)() + 0;
      const int64_t last = first + kTile, keys = p_.causal && last < p_.keys ? last : p_.keys;
      scores<kTile>(q + first * p_.q_row, keys);
      float shares[kTile];
      for (int m = 0; m < kTile; ++m) shares[m] = probabilities(mask, first + m, scores_ + m * at_.row, keys);
      values<kTile>(y + first * p_.y_row, shares, keys);
    });
  }

 private:
  void pack_batch(int64_t batch) {
    const float* k = operands_.k + p_.batches.offset(batch, 2);
    pack_floats<L>(k, p_.depth, p_.keys, {p_.k.column, p_.k.row}, keys_);
    pack_floats<L>(operands_.v + p_.batches.offset(batch, 3), p_.keys, p_.width, p_.v, values_);
  }

  template <int Rows>
  void scores(const float* q, int64_t keys) {
    const auto scale = L::set(p_.scale);
    const float* panel = keys_;
    for (int64_t c = 0; c < keys; c += kColumns<L>, panel += p_.depth * kColumns<L>) {
      typename L::F32 acc[Rows][kVectors];
      multiply_floats<L, Rows>(acc, q, p_.q_row, p_.depth, panel);
      unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
        unroll<kVectors>([&](auto v) FXQUANT_UNROLLED {
          L::store_f32(scores_ + m * at_.row + c + v * L::kCount, L::mul(acc[m][v], scale));
        });
      });
    }
  }

  // Row `i` of the mask: its own, where it is floats side by side.
  const float* mask_row(const uint8_t* mask, int64_t i, int64_t keys) {
    const int64_t step = p_.mask_strides.column;
    if (p_.mask == Mask::floats) {
      const float* from = reinterpret_cast<const float*>(mask) + i * p_.mask_strides.row;
      if (step == 1) return from;
      for (int64_t j = 0; j < keys; ++j) mask_[j] = from[j * step];
    } else {
      const uint8_t* from = mask + i * p_.mask_strides.row;
      if (step == 1) {
        for (int64_t j = 0; j < keys; ++j) mask_[j] = from[j] != 0 ? 0.0F : -__builtin_inff();
      } else {
        for (int64_t j = 0; j < keys; ++j) mask_[j] = from[j * step] != 0 ? 0.0F : -__builtin_inff();
      }
    }
    return mask_;
  }

  // Makes probabilities of a row of scores, but for the factor that it returns.
  float probabilities(const uint8_t* mask, int64_t i, float* t, int64_t keys) {
    if (p_.mask != Mask::none) {
      const float* added = mask_row(mask, i, keys);
      for_row<L>(t, keys, [=](const auto& load) FXQUANT_UNROLLED { return L::add(load(t), load(added)); });
    }
    const int64_t end = p_.causal && i + 1 < keys ? i + 1 : keys, length = up_to(keys, kPartials);
    for (int64_t j = end; j < length; ++j) t[j] = -__builtin_inff();
    const float highest = largest_of(t, length), most = highest > -__builtin_inff() ? highest : 0.0F;
    const float sum = sum_of<L>(length, [=](auto lanes, int64_t j) FXQUANT_UNROLLED {
      using Any = decltype(lanes);
      const auto distance = Any::sub(Any::load_f32(t + j), Any::set(most));
      const auto p = float_exp2<Any>(Any::mul(distance, Any::set(kLog2OfE)));
      Any::store_f32(t + j, p);
      return p;
    });
    return sum == 0.0F ? 0.0F : 1.0F / sum;
  }

  // Of whole vectors; -inf of none. A NaN does not count.
  static float largest_of(const float* t, int64_t length) {
    auto most = L::set(-__builtin_inff());
    for (int64_t j = 0; j < length; j += L::kCount) most = L::greater(L::load_f32(t + j), most);
    return L::largest(most);
  }

  template <int Rows>
  void values(float* y, const float* shares, int64_t keys) {
    const float* panel = values_;
    for (int64_t c = 0; c < p_.width; c += kColumns<L>, panel += p_.keys * kColumns<L>) {
      typename L::F32 acc[Rows][kVectors];
      multiply_floats<L, Rows>(acc, scores_, at_.row, keys, panel);
      unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
        const auto share = L::set(shares[m]);
        unroll<kVectors>([&](auto v) FXQUANT_UNROLLED {
          const int64_t left = p_.width - c - v * L::kCount, count = left < L::kCount ? left : L::kCount;
          if (count > 0) L::store_f32(y + m * p_.y_row + c + v * L::kCount, count, L::mul(acc[m][v], share));
        });
      });
    }
  }

  const FloatAttention& p_;
  const FloatAttentionOperands& operands_;
  const FloatScratch<L, MostRows> at_;
  float *keys_, *values_, *scores_, *mask_;
};

template <class L, int MostRows>
void float_attention_part(const FloatAttention& p, const FloatAttentionOperands& operands, const MatmulPart& part) {
  FloatAttentionBlock<L, MostRows> block(p, operands, part.scratch);
  for_each_block(part, p.queries, block);
}

template <class L, int MostRows>
constexpr FloatKernels float_table() {
  return {float_pair_rows<L, Add>,          float_pair_rows<L, Mul>,
          float_function_rows<L, Gelu>,     float_function_rows<L, GeluTanh>,
          float_function_rows<L, Silu>,     float_norm_rows<L, true>,
          float_norm_rows<L, false>,        float_attention_scratch_of<L, MostRows>,
          float_attention_part<L, MostRows>};
}

}  // namespace
}  // namespace fxquant
