// Dot products (contract in dot_scalar.h) for AVX512-VNNI: vpdpbusd zmm. vpermb interleaves four rows of sixteen bytes.
#pragma once
#include "base/lanes_avx512.h"
#include "base/unroll.h"

namespace fxquant {
namespace {

struct Avx512Dot : Avx512Lanes {
  static constexpr int kRows = 14, kVectors = 2, kOverlappedRows = 8;
  static constexpr bool kReducesSeveral = true;
  using Acc = __m512i;
  using Activations = __m512i;
  using Weights = __m512i;

  static Acc load_i32(const int32_t* p) { return _mm512_loadu_si512(p); }
  static Acc splat_i32(int32_t v) { return _mm512_set1_epi32(v); }
  static Acc add_i32(Acc a, Acc b) { return _mm512_add_epi32(a, b); }
  static Acc mul_i32(Acc a, Acc b) { return _mm512_mullo_epi32(a, b); }
  static void store_i32(int32_t* p, Acc v) { _mm512_storeu_si512(p, v); }
  static F32 to_float(Acc v) { return _mm512_cvtepi32_ps(v); }
  static __m512i words(F32 a, F32 b) { return _mm512_packus_epi32(_mm512_cvtps_epi32(a), _mm512_cvtps_epi32(b)); }
  static void store4_words(uint16_t* p, const F32 (&v)[4]) {
    _mm512_storeu_si512(p, words(v[0], v[1]));
    _mm512_storeu_si512(p + 32, words(v[2], v[3]));
  }
  // In each quarter of packed words four of v[0] are followed by four of v[1].
  static void store4_high_bytes(uint8_t* p, const F32 (&v)[4], const uint16_t* added) {
    const __m512i low = _mm512_add_epi16(words(v[0], v[1]), _mm512_loadu_si512(added));
    const __m512i high = _mm512_add_epi16(words(v[2], v[3]), _mm512_loadu_si512(added + 32));
    const __m512i fours = _mm512_setr_epi32(0, 16, 32, 48, 8, 24, 40, 56, 64, 80, 96, 112, 72, 88, 104, 120);
    const __m512i order =
        _mm512_add_epi32(_mm512_mullo_epi32(fours, _mm512_set1_epi32(0x01010101)), _mm512_set1_epi32(0x07050301));
    _mm512_storeu_si512(p, _mm512_permutex2var_epi8(low, order, high));
  }
  static Activations broadcast(uint32_t bytes) { return _mm512_set1_epi32(static_cast<int>(bytes)); }
  static Weights weights(const uint8_t* p) { return _mm512_loadu_si512(p); }
  static Activations activations(const uint8_t* p) { return weights(p); }
  static Activations activations(const uint8_t* p, int64_t count) {
    return _mm512_maskz_loadu_epi8((uint64_t{1} << count) - 1, p);
  }
  static Weights flipped(const uint8_t* p) { return _mm512_xor_si512(weights(p), _mm512_set1_epi8(-128)); }
  static Weights ones() { return _mm512_set1_epi8(1); }
  static Acc dot(Acc acc, Activations x, Weights w) { return _mm512_dpbusd_epi32(acc, x, w); }
  static int32_t total(Acc v) { return _mm512_reduce_add_epi32(v); }
  template <int N>
  FXQUANT_UNROLLED static void totals(const Acc (&v)[N], int32_t* to) {
    const auto part = [&](int i) FXQUANT_UNROLLED { return v[i]; };
    reduce<N>(part, [](__m512i a, __m512i b) FXQUANT_UNROLLED { return _mm512_add_epi32(a, b); }, to);
  }
  template <int N>
  FXQUANT_UNROLLED static void largests(const F32 (&v)[N], float* to) {
    const auto part = [&](int i) FXQUANT_UNROLLED { return _mm512_castps_si512(v[i]); };
    const auto most = [](__m512i a, __m512i b) FXQUANT_UNROLLED {
      return _mm512_castps_si512(_mm512_max_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b)));
    };
    reduce<N>(part, most, to);
  }
  // The lanes of part(i) by `add` to one, up to eight vectors at once: halves of two side by side, quarters of four,
  // then two lanes of four of each.
  template <int N, class Part, class Add, class T>
  FXQUANT_UNROLLED static void reduce(const Part& part, const Add& add, T* to) {
    const auto any = [&](int i) FXQUANT_UNROLLED { return part(i < N ? i : N - 1); };
    const auto halves = [&](int i) FXQUANT_UNROLLED {
      const __m512i a = any(i), b = any(i + 1);
      return add(_mm512_shuffle_i64x2(a, b, 0x44), _mm512_shuffle_i64x2(a, b, 0xEE));
    };
    const auto quarters = [&](int i) FXQUANT_UNROLLED {
      const __m512i a = halves(i), b = halves(i + 2);
      return add(_mm512_shuffle_i64x2(a, b, 0x88), _mm512_shuffle_i64x2(a, b, 0xDD));
    };
    const __m512i a = quarters(0), b = N > 4 ? quarters(4) : a;
    __m512i lanes = add(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    lanes = add(lanes, _mm512_shuffle_epi32(lanes, _MM_PERM_BADC));
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_castsi512_si256(_mm512_permutexvar_epi32(order, lanes)));
    if constexpr (N > 8) reduce<N - 8>([&](int i) FXQUANT_UNROLLED { return part(i + 8); }, add, to + 8);
  }
  // Lane i of vector v: column 4 * i + v.
  static void gather(const uint8_t* from, int64_t stride, uint8_t* to, int64_t step) {
    const auto column = [&](int c) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + c * stride)); };
    const auto columns = [&](int v) {
      __m512i lanes = _mm512_castsi128_si512(column(v));
      lanes = _mm512_inserti32x4(lanes, column(4 + v), 1);
      lanes = _mm512_inserti32x4(lanes, column(8 + v), 2);
      return _mm512_inserti32x4(lanes, column(12 + v), 3);
    };
    const __m512i v0 = columns(0), v1 = columns(1), v2 = columns(2), v3 = columns(3);
    const __m512i low01 = _mm512_unpacklo_epi32(v0, v1), high01 = _mm512_unpackhi_epi32(v0, v1);
    const __m512i low23 = _mm512_unpacklo_epi32(v2, v3), high23 = _mm512_unpackhi_epi32(v2, v3);
    _mm512_storeu_si512(to, _mm512_unpacklo_epi64(low01, low23));
    _mm512_storeu_si512(to + step, _mm512_unpackhi_epi64(low01, low23));
    _mm512_storeu_si512(to + 2 * step, _mm512_unpacklo_epi64(high01, high23));
    _mm512_storeu_si512(to + 3 * step, _mm512_unpackhi_epi64(high01, high23));
  }
  static void interleave(const uint8_t* const (&row)[4], uint8_t* to) {
    const auto load = [](const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); };
    __m512i rows = _mm512_castsi128_si512(load(row[0]));
    rows = _mm512_inserti32x4(rows, load(row[1]), 1);
    rows = _mm512_inserti32x4(rows, load(row[2]), 2);
    rows = _mm512_inserti32x4(rows, load(row[3]), 3);
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i order =
        _mm512_add_epi32(_mm512_mullo_epi32(lane, _mm512_set1_epi32(0x01010101)), _mm512_set1_epi32(0x30201000));
    _mm512_storeu_si512(to, _mm512_permutexvar_epi8(order, rows));
  }
};

}  // namespace
}  // namespace fxquant
