// Vectors of kWidth uint8 channels, and the same channels as four vectors of int32: what is written once for all
// machines. Widths are multiples of 16.
//
// Interleaving works within 128-bit lanes. Channel c of the bytes becomes dword 4 * (c / 16) + c % 4 of vector
// c % 16 / 4, and packing puts it back, so neither needs a permutation across lanes.
//
// A bytes_<isa>.h offers
//   Int, Float, kWidth          a vector of any integers, one of float32, how many bytes both have
//   load, store(.., count)      touch only `count` channels; with_bytes(channels, body) chooses a vector for so many
//   low_8, high_8, low_16, ..   interleave the lower or upper half of each 128-bit lane of two vectors
//   pack_32, pack_16            int32 to int16, int16 to uint8, saturating, as the inverse of interleaving
//   round                       to nearest even, of values within int32
//   round_bounded(a, high)      of any values; what is above `high` becomes high or more, NaN INT_MIN
//   lookup(table, codes)        table[code] of 256 entries
// and the arithmetic that its names say.
#pragma once
#include <cstdint>

#include "base/requantize.h"
#include "base/unroll.h"

namespace fxquant {
namespace {

// quad[v] has, for each of its channels, that channel of rows 0, 1, 2 and 3 side by side in a dword.
template <class V>
inline void interleave(const typename V::Int (&row)[4], typename V::Int (&quad)[4]) {
  const auto low_01 = V::low_8(row[0], row[1]), high_01 = V::high_8(row[0], row[1]);
  const auto low_23 = V::low_8(row[2], row[3]), high_23 = V::high_8(row[2], row[3]);
  quad[0] = V::low_16(low_01, low_23);
  quad[1] = V::high_16(low_01, low_23);
  quad[2] = V::low_16(high_01, high_23);
  quad[3] = V::high_16(high_01, high_23);
}

// The bytes of vector `Part` of the four, zero-extended to int32.
template <class V, int Part>
inline typename V::Int widen(typename V::Int bytes) {
  const auto words = Part < 2 ? V::low_8(bytes, V::zero()) : V::high_8(bytes, V::zero());
  return Part % 2 == 0 ? V::low_16(words, V::zero()) : V::high_16(words, V::zero());
}

// Exact floats without a conversion: 16 bits below the exponent of 2^23 are that float plus their value. `base` is
// above_base(offset).
inline float above_base(int32_t offset) { return 8388608.0F + static_cast<float>(offset); }

// float(word - offset) of the words that unpacking gives half `Half` of the dwords.
template <class V, int Half>
inline typename V::Float centered_words(typename V::Int words, typename V::Float base) {
  const auto exponent = V::splat_16(0x4B00);
  return V::sub((typename V::Float)(Half == 0 ? V::low_16(words, exponent) : V::high_16(words, exponent)), base);
}

// float(byte - offset) of the bytes of vector `Part`.
template <class V, int Part>
inline typename V::Float centered(typename V::Int bytes, typename V::Float base) {
  return centered_words<V, Part % 2>(Part < 2 ? V::low_8(bytes, V::zero()) : V::high_8(bytes, V::zero()), base);
}

// The last steps of base/requantize.h: from float32 values that are yet to be rounded to bytes.
template <class V>
class Saturate {
 public:
  explicit Saturate(const Requantize& q)
      : high_(V::splat(static_cast<float>(q.quant_max - q.zero_point))),
        zero_point_(V::splat_16(q.zero_point)),
        quant_min_(V::splat_8(q.quant_min)),
        quant_max_(V::splat_8(q.quant_max)) {}

  // Values that are known to be in the range of int32 need no bound here and V::round does: packing saturates, and the
  // bounds of the bytes follow.
  typename V::Int round(typename V::Float value) const { return V::round_bounded(value, high_); }
  typename V::Int words(typename V::Int a, typename V::Int b) const {
    return V::add_saturating_16(V::pack_32(a, b), zero_point_);
  }
  typename V::Int bytes(typename V::Int words_a, typename V::Int words_b) const {
    return V::min_u8(V::max_u8(V::pack_16(words_a, words_b), quant_min_), quant_max_);
  }

 private:
  typename V::Float high_;
  typename V::Int zero_point_, quant_min_, quant_max_;
};

}  // namespace
}  // namespace fxquant
