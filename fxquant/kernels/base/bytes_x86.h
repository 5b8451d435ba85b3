// Vectors of kWidth uint8 channels, and the same channels as four vectors of int32, for any width of x86 vector.
//
// Interleaving works within 128-bit lanes. Channel c of the bytes becomes dword 4 * (c / 16) + c % 4 of vector
// c % 16 / 4, and packing puts it back, so neither needs a permutation across lanes.
#pragma once
#include <immintrin.h>

#include <cstdint>

#include "base/requantize.h"
#include "base/unroll.h"

namespace fxquant {
namespace {

#define FXQUANT_BYTES_X86(Name, prefix, bits, IntType, FloatType)                                    \
  struct Name {                                                                                      \
    using Int = IntType;                                                                             \
    using Float = FloatType;                                                                         \
    using U32 __attribute__((vector_size(bits / 8))) = uint32_t;                                     \
    static constexpr int kWidth = bits / 8;                                                          \
    static Int load(const void* p) { return prefix##_loadu_si##bits(static_cast<const Int*>(p)); }   \
    static void store(void* p, Int v) { prefix##_storeu_si##bits(static_cast<Int*>(p), v); }         \
    static Float load_f32(const void* p) { return prefix##_loadu_ps(static_cast<const float*>(p)); } \
    static Int zero() { return prefix##_setzero_si##bits(); }                                        \
    static Int splat_8(int32_t v) { return prefix##_set1_epi8(static_cast<char>(v)); }               \
    static Int splat_16(int32_t v) { return prefix##_set1_epi16(static_cast<int16_t>(v)); }          \
    static Int splat_32(int32_t v) { return prefix##_set1_epi32(v); }                                \
    static Float splat(float v) { return prefix##_set1_ps(v); }                                      \
    static Int low_8(Int a, Int b) { return prefix##_unpacklo_epi8(a, b); }                          \
    static Int high_8(Int a, Int b) { return prefix##_unpackhi_epi8(a, b); }                         \
    static Int low_16(Int a, Int b) { return prefix##_unpacklo_epi16(a, b); }                        \
    static Int high_16(Int a, Int b) { return prefix##_unpackhi_epi16(a, b); }                       \
    static Int pack_32(Int a, Int b) { return prefix##_packs_epi32(a, b); }                          \
    static Int pack_16(Int a, Int b) { return prefix##_packus_epi16(a, b); }                         \
    static Int max_u8(Int a, Int b) { return prefix##_max_epu8(a, b); }                              \
    static Int min_u8(Int a, Int b) { return prefix##_min_epu8(a, b); }                              \
    static Int add_16(Int a, Int b) { return prefix##_add_epi16(a, b); }                             \
    static Int add_saturating_16(Int a, Int b) { return prefix##_adds_epi16(a, b); }                 \
    static Int madd_16(Int a, Int b) { return prefix##_madd_epi16(a, b); }                           \
    static Int add_32(Int a, Int b) { return prefix##_add_epi32(a, b); }                             \
    static Int sub_32(Int a, Int b) { return prefix##_sub_epi32(a, b); }                             \
    static Int left_32(Int a, int n) { return (Int)((U32)a << n); }                                  \
    static Int right_32(Int a, int n) { return (Int)((U32)a >> n); }                                 \
    static Int bytes_even_u8(Int a) { return prefix##_and_si##bits(a, splat_16(0xff)); }             \
    static Int bytes_odd_u8(Int a) { return prefix##_srli_epi16(a, 8); }                             \
    static Int bytes_even_s8(Int a) { return prefix##_srai_epi16(prefix##_slli_epi16(a, 8), 8); }    \
    static Int bytes_odd_s8(Int a) { return prefix##_srai_epi16(a, 8); }                             \
    static Float to_float(Int a) { return prefix##_cvtepi32_ps(a); }                                 \
    static Int round(Float a) { return prefix##_cvtps_epi32(a); }                                    \
    static Float add(Float a, Float b) { return prefix##_add_ps(a, b); }                             \
    static Float sub(Float a, Float b) { return prefix##_sub_ps(a, b); }                             \
    static Float mul(Float a, Float b) { return prefix##_mul_ps(a, b); }                             \
    static Float min(Float a, Float b) { return prefix##_min_ps(a, b); }                             \
  }

FXQUANT_BYTES_X86(BytesX128, _mm, 128, __m128i, __m128);
FXQUANT_BYTES_X86(BytesX256, _mm256, 256, __m256i, __m256);
#ifdef __AVX512BW__
FXQUANT_BYTES_X86(BytesX512, _mm512, 512, __m512i, __m512);
#endif
#undef FXQUANT_BYTES_X86

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

  // The conversion makes INT_MIN of all that is out of the range of int32, so the upper bound is applied before it. A
  // NaN passes the minimum, whose second operand it is, and becomes INT_MIN too, as it should. Values that are known to
  // be in the range need no bound here: packing saturates, and the bounds of the bytes follow.
  typename V::Int round(typename V::Float value) const { return V::round(V::min(high_, value)); }
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
