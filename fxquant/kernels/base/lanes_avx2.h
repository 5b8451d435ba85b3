// Eight lanes of float32 (contract in lanes_scalar.h), for AVX2. Rounding and NaN as in lanes_avx512.h.
#pragma once
#include <immintrin.h>

#include "base/few_bytes.h"
#include "base/requantize.h"

namespace fxquant {
namespace {

struct Avx2Lanes {
  static constexpr int kCount = 8;
  using F32 = __m256;
  struct Output {
    __m256 low, high;
    __m256i zero_point_i16, order;
  };

  static Output output(const Requantize& q) {
    return {set(static_cast<float>(q.quant_min - q.zero_point)), set(static_cast<float>(q.quant_max - q.zero_point)),
            _mm256_set1_epi16(static_cast<int16_t>(q.zero_point)), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)};
  }
  static __m256i first(int64_t count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static F32 set(float value) { return _mm256_set1_ps(value); }
  static F32 load_u8(const uint8_t* p) { return load_u8(p, kCount); }
  static F32 load_u8(const uint8_t* p, int64_t count) {
    const __m128i bytes = _mm_cvtsi64_si128(static_cast<int64_t>(load_bytes(p, count)));
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
  }
  static F32 load_f32(const float* p) { return _mm256_loadu_ps(p); }
  static F32 load_f32(const float* p, int64_t count) { return _mm256_maskload_ps(p, first(count)); }
  static F32 add(F32 a, F32 b) { return _mm256_add_ps(a, b); }
  static F32 sub(F32 a, F32 b) { return _mm256_sub_ps(a, b); }
  static F32 mul(F32 a, F32 b) { return _mm256_mul_ps(a, b); }
  static F32 div(F32 a, F32 b) { return _mm256_div_ps(a, b); }
  static F32 multiply_add(F32 a, F32 b, F32 c) { return _mm256_fmadd_ps(a, b, c); }
  static F32 greater(F32 a, F32 b) { return _mm256_max_ps(a, b); }
  static F32 lesser(F32 a, F32 b) { return _mm256_min_ps(a, b); }
  static F32 upper(F32 a, F32 b) {
    return _mm256_castsi256_ps(_mm256_max_epi32(_mm256_castps_si256(a), _mm256_castps_si256(b)));
  }
  static F32 lower(F32 a, F32 b) {
    return _mm256_castsi256_ps(_mm256_max_epu32(_mm256_castps_si256(a), _mm256_castps_si256(b)));
  }
  static F32 negative(F32 v) { return _mm256_or_ps(v, set(-0.0F)); }
  // The lanes of `v` by `more`, which takes the more of two, to one.
  template <class More>
  static float most(F32 v, const More& more) {
    const __m128 four = more(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 two = more(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(more(two, _mm_movehdup_ps(two)));
  }
  static float uppermost(F32 v) {
    return most(v, [](__m128 a, __m128 b) {
      return _mm_castsi128_ps(_mm_max_epi32(_mm_castps_si128(a), _mm_castps_si128(b)));
    });
  }
  static float lowermost(F32 v) {
    return most(v, [](__m128 a, __m128 b) {
      return _mm_castsi128_ps(_mm_max_epu32(_mm_castps_si128(a), _mm_castps_si128(b)));
    });
  }
  static float largest(F32 v) {
    return most(v, [](__m128 a, __m128 b) { return _mm_max_ps(a, b); });
  }
  static float sum(F32 v) {
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
  }
  static F32 nearest(F32 v) { return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static F32 scaled(F32 v, F32 n) {
    const __m256i exponent = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(v), exponent));
  }
  static void store_f32(float* p, F32 v) { _mm256_storeu_ps(p, v); }
  static void store_f32(float* p, int64_t count, F32 v) {
    if (count == kCount) return store_f32(p, v);
    _mm256_maskstore_ps(p, first(count), v);
  }

  static __m256i round(F32 v, const Output& q) {
    return _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(v, q.low), q.high));
  }
  // Thirty-two bytes: in each half four lanes of v[0], then the same lanes of v[1], v[2], v[3].
  static __m256i pack(const F32 (&v)[4], const Output& q) {
    const __m256i low = _mm256_packs_epi32(round(v[0], q), round(v[1], q));
    const __m256i high = _mm256_packs_epi32(round(v[2], q), round(v[3], q));
    return _mm256_packus_epi16(_mm256_add_epi16(low, q.zero_point_i16), _mm256_add_epi16(high, q.zero_point_i16));
  }
  static void store_u8(uint8_t* p, int64_t count, F32 v, const Output& q) {
    const __m256i values = round(v, q);
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(values), _mm256_extracti128_si256(values, 1));
    const __m128i shifted = _mm_add_epi16(words, _mm256_castsi256_si128(q.zero_point_i16));
    store_bytes(p, count, static_cast<uint64_t>(_mm_cvtsi128_si64(_mm_packus_epi16(shifted, shifted))));
  }
  static void store4_u8(uint8_t* p, const F32 (&v)[4], const Output& q) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permutevar8x32_epi32(pack(v, q), q.order));
  }
  static void store_pairs_u8(uint8_t* p0, uint8_t* p1, const F32 (&v)[4], const Output& q) {
    const __m256i bytes = _mm256_permutevar8x32_epi32(pack(v, q), q.order);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p0), _mm256_castsi256_si128(bytes));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p1), _mm256_extracti128_si256(bytes, 1));
  }
};

}  // namespace
}  // namespace fxquant
