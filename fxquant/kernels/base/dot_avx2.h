// Dot products (contract in dot_scalar.h) for AVX2: vpmaddubsw saturates, so even and odd bytes go through vpmaddwd.
#pragma once
#include "base/lanes_avx2.h"

namespace fxquant {
namespace {

struct YmmDot : Avx2Lanes {
  static constexpr int kVectors = 2, kOverlappedRows = 0;
  static constexpr bool kReducesSeveral = false;
  using Acc = __m256i;

  static Acc load_i32(const int32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static Acc splat_i32(int32_t v) { return _mm256_set1_epi32(v); }
  static Acc add_i32(Acc a, Acc b) { return _mm256_add_epi32(a, b); }
  static Acc mul_i32(Acc a, Acc b) { return _mm256_mullo_epi32(a, b); }
  static void store_i32(int32_t* p, Acc v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
  static F32 to_float(Acc v) { return _mm256_cvtepi32_ps(v); }
  static __m256i words(F32 a, F32 b) { return _mm256_packus_epi32(_mm256_cvtps_epi32(a), _mm256_cvtps_epi32(b)); }
  static void store4_words(uint16_t* p, const F32 (&v)[4]) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), words(v[0], v[1]));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p) + 1, words(v[2], v[3]));
  }
  static void store4_high_bytes(uint8_t* p, const F32 (&v)[4], const uint16_t* added) {
    const auto high = [&](F32 a, F32 b, int i) {
      const __m256i other = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(added) + i);
      return _mm256_srli_epi16(_mm256_add_epi16(words(a, b), other), 8);
    };
    const __m256i bytes = _mm256_packus_epi16(high(v[0], v[1], 0), high(v[2], v[3], 1));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permutevar8x32_epi32(bytes, order));
  }
  static int32_t total(Acc v) {
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xB1)));
  }
  // Lane i of vector v: column 4 * i + v.
  static void gather(const uint8_t* from, int64_t stride, uint8_t* to, int64_t step) {
    const auto column = [&](int c) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + c * stride)); };
    const auto columns = [&](int v) { return _mm256_set_m128i(column(4 + v), column(v)); };
    const __m256i v0 = columns(0), v1 = columns(1), v2 = columns(2), v3 = columns(3);
    const __m256i low01 = _mm256_unpacklo_epi32(v0, v1), high01 = _mm256_unpackhi_epi32(v0, v1);
    const __m256i low23 = _mm256_unpacklo_epi32(v2, v3), high23 = _mm256_unpackhi_epi32(v2, v3);
    const auto store = [&](int s, __m256i v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + s * step), v); };
    store(0, _mm256_unpacklo_epi64(low01, low23));
    store(1, _mm256_unpackhi_epi64(low01, low23));
    store(2, _mm256_unpacklo_epi64(high01, high23));
    store(3, _mm256_unpackhi_epi64(high01, high23));
  }
  static void interleave(const uint8_t* const (&row)[4], uint8_t* to) {
    const auto load = [](const uint8_t* p) { return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)); };
    const __m128i even = _mm_unpacklo_epi8(load(row[0]), load(row[1]));
    const __m128i odd = _mm_unpacklo_epi8(load(row[2]), load(row[3]));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_unpacklo_epi16(even, odd));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 16), _mm_unpackhi_epi16(even, odd));
  }
};

struct Avx2Dot : YmmDot {
  static constexpr int kRows = 4;
  struct Halves {
    __m256i even, odd;  // as int16
  };
  using Activations = Halves;
  using Weights = Halves;

  static Activations broadcast(uint32_t bytes) {
    const __m256i x = _mm256_set1_epi32(static_cast<int>(bytes));
    return {_mm256_and_si256(x, _mm256_set1_epi16(255)), _mm256_srli_epi16(x, 8)};
  }
  static Weights weights(const uint8_t* p) {
    const __m256i w = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return {_mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8), _mm256_srai_epi16(w, 8)};
  }
  static Activations activations(const uint8_t* p) {
    const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return {_mm256_and_si256(x, _mm256_set1_epi16(255)), _mm256_srli_epi16(x, 8)};
  }
  static Activations activations(const uint8_t* p, int64_t count) {
    uint8_t bytes[4 * kCount] = {};
    for (int64_t i = 0; i < count; ++i) bytes[i] = p[i];
    return activations(bytes);
  }
  static Weights flipped(const uint8_t* p) {
    const Activations x = activations(p);
    const __m256i half = _mm256_set1_epi16(128);
    return {_mm256_sub_epi16(x.even, half), _mm256_sub_epi16(x.odd, half)};
  }
  static Weights ones() { return {_mm256_set1_epi16(1), _mm256_set1_epi16(1)}; }
  static Acc dot(Acc acc, const Activations& x, const Weights& w) {
    acc = _mm256_add_epi32(acc, _mm256_madd_epi16(x.even, w.even));
    return _mm256_add_epi32(acc, _mm256_madd_epi16(x.odd, w.odd));
  }
};

}  // namespace
}  // namespace fxquant
