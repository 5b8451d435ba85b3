// Sixteen lanes of float32 (contract in lanes_scalar.h), for AVX512F/BW/VL.
//
// A byte goes to float by vpmovzxbd + vcvtdq2ps, back by vcvtps2dq (rounds to nearest even) after the bounds were
// applied in float; vmaxps returns its second operand for NaN, so NaN ends at the lower bound.
#pragma once
#include <immintrin.h>

#include "base/requantize.h"

namespace fxquant {
namespace {

struct Avx512Lanes {
  static constexpr int kCount = 16;
  using F32 = __m512;
  struct Output {
    __m512 low, high;
    __m512i zero_point_i16, order, least;
  };

  static Output output(const Requantize& q) {
    return {set(static_cast<float>(q.quant_min - q.zero_point)), set(static_cast<float>(q.quant_max - q.zero_point)),
            _mm512_set1_epi16(static_cast<int16_t>(q.zero_point)),
            _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15),
            _mm512_set1_epi8(static_cast<char>(q.quant_min))};
  }
  static __mmask16 first(int64_t count) { return static_cast<__mmask16>((1U << count) - 1U); }
  // Some machines split masked stores, so whole ones are told apart.
  static void store_bytes(uint8_t* p, int64_t count, __m128i bytes) {
    if (count == kCount) return _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
    _mm_mask_storeu_epi8(p, first(count), bytes);
  }
  static F32 set(float value) { return _mm512_set1_ps(value); }
  static F32 from_u8(__m128i bytes) { return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)); }
  static F32 load_u8(const uint8_t* p) { return from_u8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
  static F32 load_u8(const uint8_t* p, int64_t count) { return from_u8(_mm_maskz_loadu_epi8(first(count), p)); }
  static F32 load_f32(const float* p) { return _mm512_loadu_ps(p); }
  static F32 load_f32(const float* p, int64_t count) { return _mm512_maskz_loadu_ps(first(count), p); }
  static F32 add(F32 a, F32 b) { return _mm512_add_ps(a, b); }
  static F32 sub(F32 a, F32 b) { return _mm512_sub_ps(a, b); }
  static F32 mul(F32 a, F32 b) { return _mm512_mul_ps(a, b); }
  static F32 div(F32 a, F32 b) { return _mm512_div_ps(a, b); }
  static F32 multiply_add(F32 a, F32 b, F32 c) { return _mm512_fmadd_ps(a, b, c); }
  static F32 greater(F32 a, F32 b) { return _mm512_max_ps(a, b); }
  static F32 lesser(F32 a, F32 b) { return _mm512_min_ps(a, b); }
  static float float_of(int bits) { return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(bits))); }
  static F32 upper(F32 a, F32 b) {
    return _mm512_castsi512_ps(_mm512_max_epi32(_mm512_castps_si512(a), _mm512_castps_si512(b)));
  }
  static F32 lower(F32 a, F32 b) {
    return _mm512_castsi512_ps(_mm512_max_epu32(_mm512_castps_si512(a), _mm512_castps_si512(b)));
  }
  static F32 negative(F32 v) {
    return _mm512_castsi512_ps(_mm512_or_si512(_mm512_castps_si512(v), _mm512_set1_epi32(INT32_MIN)));
  }
  static float uppermost(F32 v) { return float_of(_mm512_reduce_max_epi32(_mm512_castps_si512(v))); }
  static float lowermost(F32 v) { return float_of(static_cast<int>(_mm512_reduce_max_epu32(_mm512_castps_si512(v)))); }
  static float largest(F32 v) { return _mm512_reduce_max_ps(v); }
  static float sum(F32 v) {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
  }
  static F32 nearest(F32 v) { return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static F32 scaled(F32 v, F32 n) { return _mm512_scalef_ps(v, n); }
  static void store_f32(float* p, F32 v) { _mm512_storeu_ps(p, v); }
  static void store_f32(float* p, int64_t count, F32 v) {
    if (count == kCount) return store_f32(p, v);
    _mm512_mask_storeu_ps(p, first(count), v);
  }

  static __m512i round(F32 v, const Output& q) {
    return _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(v, q.low), q.high));
  }
  // Sixty-four bytes: in each quarter four lanes of v[0], then the same lanes of v[1], v[2], v[3]. What is too small
  // for an integer, or NaN, becomes the least one, so that packing saturates it, and the lower bound is one of bytes.
  static __m512i pack(const F32 (&v)[4], const Output& q) {
    const auto round = [&](F32 x) { return _mm512_cvtps_epi32(_mm512_min_ps(q.high, x)); };
    const __m512i low = _mm512_packs_epi32(round(v[0]), round(v[1]));
    const __m512i high = _mm512_packs_epi32(round(v[2]), round(v[3]));
    const __m512i bytes =
        _mm512_packus_epi16(_mm512_adds_epi16(low, q.zero_point_i16), _mm512_adds_epi16(high, q.zero_point_i16));
    return _mm512_max_epu8(bytes, q.least);
  }
  static __m128i to_u8(F32 v, const Output& q) {
    const __m256i words = _mm512_cvtepi32_epi16(round(v, q));
    return _mm256_cvtepi16_epi8(_mm256_add_epi16(words, _mm512_castsi512_si256(q.zero_point_i16)));
  }
  static void store_u8(uint8_t* p, int64_t count, F32 v, const Output& q) { store_bytes(p, count, to_u8(v, q)); }
  static void store4_u8(uint8_t* p, const F32 (&v)[4], const Output& q) {
    _mm512_storeu_si512(p, _mm512_permutexvar_epi32(q.order, pack(v, q)));
  }
  static void store_pairs_u8(uint8_t* p0, uint8_t* p1, const F32 (&v)[4], const Output& q) {
    const __m512i bytes = _mm512_permutexvar_epi32(q.order, pack(v, q));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p0), _mm512_castsi512_si256(bytes));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p1), _mm512_extracti64x4_epi64(bytes, 1));
  }
};

}  // namespace
}  // namespace fxquant
