// Requantization and stores of 512-bit accumulators.
// packs_epi32 + packus_epi16 interleave lanes, which the column order of pack.h undoes; VBMI's vpermb spreads residual
// bytes into that order and vpermi2b looks tables up.
#pragma once
#include <immintrin.h>

#include <cstdint>

#include "gemm/generic.h"

namespace fxquant {
namespace {

FXQUANT_INLINE __m512i look_up(__m512i codes, const uint8_t* table) {
  const __m512i t0 = _mm512_loadu_si512(table), t1 = _mm512_loadu_si512(table + 64);
  const __m512i t2 = _mm512_loadu_si512(table + 128), t3 = _mm512_loadu_si512(table + 192);
  const __m512i low = _mm512_permutex2var_epi8(t0, codes, t1), high = _mm512_permutex2var_epi8(t2, codes, t3);
  return _mm512_mask_blend_epi8(_mm512_movepi8_mask(codes), low, high);
}

// float(r - zero_point) of the residual bytes of vector v: in pairs, slot s holds column 8 * (s / 4) + s % 4 + 4 * v.
// A byte below the exponent of 2^23 is that float plus the byte, so no conversion is needed.
template <int Vectors>
FXQUANT_INLINE __m512 centered(__m256i bytes, int v, int32_t zero_point) {
  if constexpr (Vectors == 1) {
    const __m512i r = _mm512_cvtepu8_epi32(_mm256_castsi256_si128(bytes));
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(r, _mm512_set1_epi32(zero_point)));
  } else {
    const __m512i order = _mm512_cvtepu8_epi32(_mm_setr_epi8(0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27));
    const __m512i columns = _mm512_add_epi32(order, _mm512_set1_epi32(4 * v)), base = _mm512_set1_epi32(0x4B000000);
    const __m512i r = _mm512_mask_permutexvar_epi8(base, 0x1111111111111111, columns, _mm512_castsi256_si512(bytes));
    return _mm512_sub_ps(_mm512_castsi512_ps(r), _mm512_set1_ps(8388608.0F + static_cast<float>(zero_point)));
  }
}

constexpr bool is_plain(Finish how) { return how == Finish::plain || how == Finish::packed; }

struct Zmm {
  static constexpr int kLanes = 16, kVectors = 2;
  static constexpr bool kAdds = true;
  template <int Vectors>
  static constexpr int kStoredRows = 4 / Vectors;
  template <int Vectors>
  static constexpr int kPipelinedRows = 12 / Vectors;
  using Acc = __m512i;

  static FXQUANT_INLINE Acc load(const int32_t* p) { return _mm512_loadu_si512(p); }
  static FXQUANT_INLINE Acc zero() { return _mm512_setzero_si512(); }
  static FXQUANT_INLINE Acc add(Acc a, Acc b) { return _mm512_add_epi32(a, b); }

  // round(acc * multiplier + residual term). If careful at most quant_max - zero_point, since a conversion turns what
  // is beyond int32 into INT_MIN; a NaN passes the minimum and becomes INT_MIN too, as it should.
  template <int Vectors, bool HasResidual, Finish How>
  static FXQUANT_INLINE __m512i scaled(__m512i acc, int v, __m256i residual, const Panel& panel) {
    __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(acc), _mm512_loadu_ps(panel.multiplier + kLanes * v));
    if constexpr (HasResidual) {
      const __m512 r = centered<Vectors>(residual, v, panel.residual.zero_point);
      value = _mm512_add_ps(value, _mm512_mul_ps(r, _mm512_set1_ps(panel.residual.multiplier)));
    }
    if constexpr (How == Finish::careful) {
      const float high = static_cast<float>(panel.output.quant_max - panel.output.zero_point);
      value = _mm512_min_ps(_mm512_set1_ps(high), value);
    }
    return _mm512_cvtps_epi32(value);
  }

  static FXQUANT_INLINE Acc times(const int32_t* p, int32_t factor) {
    return _mm512_mullo_epi32(load(p), _mm512_set1_epi32(factor));
  }

  // A NaN stays one: it is the second operand.
  static FXQUANT_INLINE void store_floats(__m512i acc, int v, const Panel& panel, float scale, float* to) {
    __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(acc), _mm512_set1_ps(scale));
    value = _mm512_mul_ps(value, _mm512_loadu_ps(panel.multiplier + kLanes * v));
    value = _mm512_add_ps(value, _mm512_loadu_ps(panel.float_bias + kLanes * v));
    value = _mm512_max_ps(_mm512_set1_ps(panel.float_output.low), value);
    _mm512_storeu_ps(to, _mm512_min_ps(_mm512_set1_ps(panel.float_output.high), value));
  }

  template <int Vectors, bool HasResidual, Finish How>
  static FXQUANT_INLINE __m256i load_residual(const uint8_t* row, const Panel& panel) {
    if constexpr (!HasResidual) return _mm256_setzero_si256();
    if constexpr (is_plain(How)) {
      return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + panel.column));
    }
    const __mmask32 columns = static_cast<__mmask32>((uint64_t{1} << panel.columns) - 1);
    return _mm256_maskz_loadu_epi8(columns, row + panel.column);
  }

  // 32 int16 outputs in column order.
  template <bool HasResidual, Finish How>
  static FXQUANT_INLINE __m512i words(const Acc (&acc)[2], const uint8_t* residual, const Panel& panel) {
    const __m256i r = load_residual<2, HasResidual, How>(residual, panel);
    const __m512i packed = _mm512_packs_epi32(scaled<2, HasResidual, How>(acc[0], 0, r, panel),
                                              scaled<2, HasResidual, How>(acc[1], 1, r, panel));
    if constexpr (How == Finish::packed) return packed;
    return _mm512_adds_epi16(packed, _mm512_set1_epi16(static_cast<int16_t>(panel.output.zero_point)));
  }

  template <Finish How>
  static FXQUANT_INLINE void write(uint8_t* row, __m256i bytes, const Panel& panel) {
    if (is_plain(How) || panel.columns == 32) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(row + panel.column), bytes);
    } else if (panel.columns == 24) {  // masked stores are slow
      _mm_storeu_si128(reinterpret_cast<__m128i*>(row + panel.column), _mm256_castsi256_si128(bytes));
      _mm_storel_epi64(reinterpret_cast<__m128i*>(row + panel.column + 16), _mm256_extracti128_si256(bytes, 1));
    } else {
      _mm256_mask_storeu_epi8(row + panel.column, static_cast<__mmask32>((uint64_t{1} << panel.columns) - 1), bytes);
    }
  }

  template <int Rows, bool HasResidual, Finish How>
  static FXQUANT_INLINE void store_pairs(const Acc (*acc)[2], uint8_t* const* y, const uint8_t* const* residual,
                                         const Panel& panel) {
    const __m512i first = words<HasResidual, How>(acc[0], residual[0], panel);
    const __m512i second = Rows == 2 ? words<HasResidual, How>(acc[Rows - 1], residual[Rows - 1], panel) : first;
    __m512i bytes = _mm512_packus_epi16(first, second);
    if constexpr (!is_plain(How)) {
      bytes = _mm512_max_epu8(bytes, _mm512_set1_epi8(static_cast<char>(panel.output.quant_min)));
      bytes = _mm512_min_epu8(bytes, _mm512_set1_epi8(static_cast<char>(panel.output.quant_max)));
    }
    bytes = _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), bytes);
    if (!is_plain(How) && panel.table) bytes = look_up(bytes, panel.table);
    write<How>(y[0], _mm512_castsi512_si256(bytes), panel);
    if constexpr (Rows == 2) write<How>(y[1], _mm512_extracti64x4_epi64(bytes, 1), panel);
  }

  template <int Rows, bool HasResidual, Finish How>
  static FXQUANT_INLINE void store_singles(const Acc (*acc)[1], uint8_t* const* y, const uint8_t* const* residual,
                                           const Panel& panel) {
    const auto words = [&](int first, int second) FXQUANT_UNROLLED {
      const auto rounded = [&](int m) FXQUANT_UNROLLED {
        return scaled<1, HasResidual, How>(acc[m][0], 0, load_residual<1, HasResidual, How>(residual[m], panel), panel);
      };
      return _mm512_adds_epi16(_mm512_packs_epi32(rounded(first), rounded(second)),
                               _mm512_set1_epi16(static_cast<int16_t>(panel.output.zero_point)));
    };
    const __m512i upper = words(0, Rows > 1 ? 1 : 0);
    __m512i bytes = _mm512_packus_epi16(upper, Rows > 2 ? words(2, Rows - 1) : upper);
    bytes = _mm512_max_epu8(bytes, _mm512_set1_epi8(static_cast<char>(panel.output.quant_min)));
    bytes = _mm512_min_epu8(bytes, _mm512_set1_epi8(static_cast<char>(panel.output.quant_max)));
    const __m512i rows = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    bytes = _mm512_permutexvar_epi32(rows, bytes);
    if (panel.table) bytes = look_up(bytes, panel.table);
    if (Rows == 4 && panel.columns == kLanes && y[Rows - 1] - y[0] == 3 * kLanes) {
      return _mm512_storeu_si512(y[0] + panel.column, bytes);
    }
    unroll<Rows>([&](auto m) FXQUANT_UNROLLED { write_single(y[m], _mm512_extracti32x4_epi32(bytes, m), panel); });
  }

  static FXQUANT_INLINE void write_single(uint8_t* row, __m128i bytes, const Panel& panel) {
    if (panel.columns == kLanes) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(row + panel.column), bytes);
    } else {
      _mm_mask_storeu_epi8(row + panel.column, static_cast<__mmask16>((1U << panel.columns) - 1), bytes);
    }
  }

  template <int Rows, int Vectors, bool HasResidual, Finish How>
  static FXQUANT_INLINE void store(const Acc (*acc)[Vectors], uint8_t* const* y, const uint8_t* const* residual,
                                   const Panel& panel) {
    if constexpr (Vectors == 2) {
      store_pairs<Rows, HasResidual, How>(acc, y, residual, panel);
    } else {
      store_singles<Rows, HasResidual, How>(acc, y, residual, panel);
    }
  }
};

}  // namespace
}  // namespace fxquant
