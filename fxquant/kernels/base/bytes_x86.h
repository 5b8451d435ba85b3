// The byte vectors of bytes.h for any width of x86 vector.
//
// Converting makes INT_MIN of all that is out of the range of int32, so an upper bound is applied before it. A NaN
// passes the minimum, whose second operand it is, and becomes INT_MIN too.
#pragma once
#include <immintrin.h>

#include <cstdint>

#include "base/bytes.h"

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
    static Float div(Float a, Float b) { return prefix##_div_ps(a, b); }                             \
    static Float max(Float a, Float b) { return prefix##_max_ps(a, b); }                             \
    static Float min(Float a, Float b) { return prefix##_min_ps(a, b); }                             \
    static Int round_bounded(Float a, Float high) { return round(prefix##_min_ps(high, a)); }        \
  }

FXQUANT_BYTES_X86(BytesX128, _mm, 128, __m128i, __m128);
FXQUANT_BYTES_X86(BytesX256, _mm256, 256, __m256i, __m256);
#ifdef __AVX512BW__
FXQUANT_BYTES_X86(BytesX512, _mm512, 512, __m512i, __m512);
#endif
#undef FXQUANT_BYTES_X86

}  // namespace
}  // namespace fxquant
