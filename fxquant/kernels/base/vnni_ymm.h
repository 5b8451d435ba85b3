// The dot product instructions of AVX-VNNI. With FXQUANT_EVEX_VNNI those of AVX512-VL, which do the same in another
// encoding, so that tests run where AVX-VNNI is missing.
#pragma once
#include <immintrin.h>

namespace fxquant {
namespace {

#ifdef FXQUANT_EVEX_VNNI
#define FXQUANT_VNNI(bits, name) _mm##bits##_##name##_epi32
#else
#define FXQUANT_VNNI(bits, name) _mm##bits##_##name##_avx_epi32
#endif

// acc[lane] += sum of 4 u8 * s8.
inline __attribute__((always_inline)) __m256i dpbusd(__m256i acc, __m256i x, __m256i w) {
  return FXQUANT_VNNI(256, dpbusd)(acc, x, w);
}
inline __attribute__((always_inline)) __m128i dpbusd(__m128i acc, __m128i x, __m128i w) {
  return FXQUANT_VNNI(, dpbusd)(acc, x, w);
}
// acc[lane] += sum of 2 s16 * s16.
inline __attribute__((always_inline)) __m256i dpwssd(__m256i acc, __m256i x, __m256i w) {
  return FXQUANT_VNNI(256, dpwssd)(acc, x, w);
}

#undef FXQUANT_VNNI

}  // namespace
}  // namespace fxquant
