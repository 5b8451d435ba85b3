// What the two 256-bit machines share: requantization and stores. They differ in their inner product.
// 4 to 6 rows x 16 columns of outputs keep their 8 to 12 accumulators in 16 registers.
#pragma once
#include <immintrin.h>

#include <cstdint>

#include "gemm/generic.h"

namespace fxquant {
namespace {

struct Ymm {
  static constexpr int kLanes = 8, kVectors = 2;
  static constexpr bool kSpreads = false, kHalves = false, kAdds = true;
  template <int Vectors>
  static constexpr int kStoredRows = 2;
  template <int Vectors>
  static constexpr int kPipelinedRows = 0;
  using Acc = __m256i;

  static FXQUANT_INLINE Acc load(const int32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static FXQUANT_INLINE Acc zero() { return _mm256_setzero_si256(); }
  static FXQUANT_INLINE Acc add(Acc a, Acc b) { return _mm256_add_epi32(a, b); }

  // The residual bytes of vector v as int32: in pairs, slot s holds column 8 * (s / 4) + s % 4 + 4 * v.
  template <int Vectors>
  static FXQUANT_INLINE __m256i spread(__m128i bytes, int v) {
    if constexpr (Vectors == 1) return _mm256_cvtepu8_epi32(bytes);
    const __m128i even_odd = _mm_shuffle_epi32(bytes, _MM_SHUFFLE(3, 1, 2, 0));
    return _mm256_cvtepu8_epi32(v == 0 ? even_odd : _mm_unpackhi_epi64(even_odd, even_odd));
  }

  // round(acc * multiplier + residual term). If careful at most quant_max - zero_point, since a conversion turns what
  // is beyond int32 into INT_MIN; a NaN passes the minimum and becomes INT_MIN too, as it should.
  template <int Vectors, bool HasResidual, Finish How>
  static FXQUANT_INLINE __m256i scaled(__m256i acc, int v, __m128i residual, const Panel& panel) {
    __m256 value = _mm256_mul_ps(_mm256_cvtepi32_ps(acc), _mm256_loadu_ps(panel.multiplier + kLanes * v));
    if constexpr (HasResidual) {
      const __m256i r = _mm256_sub_epi32(spread<Vectors>(residual, v), _mm256_set1_epi32(panel.residual.zero_point));
      const __m256 term = _mm256_mul_ps(_mm256_cvtepi32_ps(r), _mm256_set1_ps(panel.residual.multiplier));
      value = _mm256_add_ps(value, term);
    }
    if constexpr (How == Finish::careful) {
      const float high = static_cast<float>(panel.output.quant_max - panel.output.zero_point);
      value = _mm256_min_ps(_mm256_set1_ps(high), value);
    }
    return _mm256_cvtps_epi32(value);
  }

  static FXQUANT_INLINE Acc times(const int32_t* p, int32_t factor) {
    return _mm256_mullo_epi32(load(p), _mm256_set1_epi32(factor));
  }

  // A NaN stays one: it is the second operand.
  static FXQUANT_INLINE void store_floats(__m256i acc, int v, const Panel& panel, float scale, float* to) {
    __m256 value = _mm256_mul_ps(_mm256_cvtepi32_ps(acc), _mm256_set1_ps(scale));
    value = _mm256_mul_ps(value, _mm256_loadu_ps(panel.multiplier + kLanes * v));
    value = _mm256_add_ps(value, _mm256_loadu_ps(panel.float_bias + kLanes * v));
    value = _mm256_max_ps(_mm256_set1_ps(panel.float_output.low), value);
    _mm256_storeu_ps(to, _mm256_min_ps(_mm256_set1_ps(panel.float_output.high), value));
  }

  template <int Vectors, bool HasResidual>
  static FXQUANT_INLINE __m128i load_residual(const uint8_t* row, const Panel& panel) {
    if constexpr (!HasResidual) return _mm_setzero_si128();
    row += panel.column;
    if (panel.columns == kLanes * Vectors) {
      if constexpr (Vectors == 1) return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(row));
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(row));
    }
    alignas(16) uint8_t bytes[16] = {};
    for (int i = 0; i < panel.columns; ++i) bytes[i] = row[i];
    return _mm_load_si128(reinterpret_cast<const __m128i*>(bytes));
  }

  // The int16 outputs of a row: in column order for pairs, every column quad twice for a single vector.
  template <int Vectors, bool HasResidual, Finish How>
  static FXQUANT_INLINE __m256i words(const Acc (&acc)[Vectors], const uint8_t* residual, const Panel& panel) {
    const __m128i r = load_residual<Vectors, HasResidual>(residual, panel);
    const __m256i first = scaled<Vectors, HasResidual, How>(acc[0], 0, r, panel);
    const __m256i second = Vectors == 2 ? scaled<Vectors, HasResidual, How>(acc[Vectors - 1], 1, r, panel) : first;
    return _mm256_adds_epi16(_mm256_packs_epi32(first, second),
                             _mm256_set1_epi16(static_cast<int16_t>(panel.output.zero_point)));
  }

  template <int Vectors>
  static FXQUANT_INLINE void write(uint8_t* row, __m128i bytes, const Panel& panel) {
    row += panel.column;
    if (panel.columns == kLanes * Vectors && !panel.table) {
      if constexpr (Vectors == 1) return _mm_storel_epi64(reinterpret_cast<__m128i*>(row), bytes);
      return _mm_storeu_si128(reinterpret_cast<__m128i*>(row), bytes);
    }
    alignas(16) uint8_t codes[16];
    _mm_store_si128(reinterpret_cast<__m128i*>(codes), bytes);
    for (int i = 0; i < panel.columns; ++i) row[i] = panel.table ? panel.table[codes[i]] : codes[i];
  }

  template <int Rows, int Vectors, bool HasResidual, Finish How>
  static FXQUANT_INLINE void store(const Acc (*acc)[Vectors], uint8_t* const* y, const uint8_t* const* residual,
                                   const Panel& panel) {
    __m256i first = words<Vectors, HasResidual, How>(acc[0], residual[0], panel);
    __m256i second = Rows == 2 ? words<Vectors, HasResidual, How>(acc[Rows - 1], residual[Rows - 1], panel) : first;
    if constexpr (Vectors == 1) {
      first = _mm256_permute4x64_epi64(first, _MM_SHUFFLE(2, 0, 2, 0));
      second = _mm256_permute4x64_epi64(second, _MM_SHUFFLE(2, 0, 2, 0));
    }
    __m256i bytes = _mm256_packus_epi16(first, second);
    if constexpr (How != Finish::plain) {
      bytes = _mm256_max_epu8(bytes, _mm256_set1_epi8(static_cast<char>(panel.output.quant_min)));
      bytes = _mm256_min_epu8(bytes, _mm256_set1_epi8(static_cast<char>(panel.output.quant_max)));
    }
    if constexpr (Vectors == 2) bytes = _mm256_permute4x64_epi64(bytes, _MM_SHUFFLE(3, 1, 2, 0));
    write<Vectors>(y[0], _mm256_castsi256_si128(bytes), panel);
    if constexpr (Rows == 2) {
      const __m128i other = Vectors == 2
                                ? _mm256_extracti128_si256(bytes, 1)
                                : _mm_unpackhi_epi64(_mm256_castsi256_si128(bytes), _mm256_castsi256_si128(bytes));
      write<Vectors>(y[1], other, panel);
    }
  }
};

}  // namespace
}  // namespace fxquant
