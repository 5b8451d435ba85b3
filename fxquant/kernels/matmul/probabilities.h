// From a row of scores, float32 in units of log(2), to probabilities in 255ths of the largest. For a Machine of tile.h.
#pragma once
#include "base/exponential.h"
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

// What scores [0, length), whole vectors, make of a row: probabilities in 255ths of the largest. Returns their sum.
template <class M>
int32_t probabilities_of(const float* scores, int64_t length, uint8_t* p) {
  const auto most = M::set(largest<M>(scores, length));
  const auto output = M::output({0, 0, 255});
  const auto part = [&](int64_t j) FXQUANT_UNROLLED {
    return power_of_2<M>(M::sub(M::load_f32(scores + j), most), kExponential255);
  };
  int64_t j = 0;
  for (; j + 4 * M::kCount <= length; j += 4 * M::kCount) {
    typename M::F32 parts[4];
    unroll<4>([&](auto v) FXQUANT_UNROLLED { parts[v] = part(j + M::kCount * v); });
    M::store4_bytes(p + j, parts);
  }
  for (; j < length; j += M::kCount) M::store_u8(p + j, M::kCount, part(j), output);
  return sum_of<M>(p, length);
}

// The probabilities `to` of query `i`, of its scores `t`, `keys` of them and room for whole vectors. The mask is added
// to these, and what is taken out becomes -inf; `added` has room for a row of the mask. Returns their sum.
template <class M>
int32_t row_of_probabilities(const AttentionLayout& p, const uint8_t* mask, int64_t i, int64_t keys, float* t,
                             float* added, uint8_t* to) {
  const int64_t length = rounded_up(keys, M::kCount < 4 ? 4 : M::kCount);  // whole vectors, and whole steps
  if (p.mask != Mask::none) {
    load_mask(p, mask, i, added);
    for (int64_t j = 0; j < keys; ++j) t[j] += added[j];
  }
  const int64_t end = p.causal && i + 1 < keys ? i + 1 : keys;
  for (int64_t j = end; j < length; ++j) t[j] = -__builtin_inff();
  return probabilities_of<M>(t, length, to);
}

}  // namespace
}  // namespace fxquant
