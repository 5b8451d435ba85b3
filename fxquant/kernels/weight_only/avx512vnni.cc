#include "base/lanes_avx512.h"
#include "weight_only/generic.h"

namespace fxquant {
namespace {

// 14 x 32 outputs are 28 accumulators and 2 weights; inputs are broadcast from memory.
struct Avx512Fused : Avx512Lanes {
  static constexpr int kVectors = 2, kRows = 14;

  static void widen(const int8_t* p, F32 (&w)[kVectors]) {
    unroll<kVectors>([&](auto v) FXQUANT_UNROLLED {
      const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + v * kCount));
      w[v] = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
    });
  }
  static void widen(const uint16_t* p, F32 (&w)[kVectors]) {
    unroll<kVectors>([&](auto v) FXQUANT_UNROLLED {
      w[v] = _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + v * kCount)));
    });
  }
  static F32 fma(F32 a, F32 b, F32 c) { return _mm512_fmadd_ps(a, b, c); }
  static F32 less(F32 a, F32 b) { return _mm512_min_ps(a, b); }
};

}  // namespace

extern const WeightOnlyKernels weight_only_avx512vnni;
const WeightOnlyKernels weight_only_avx512vnni = weight_only_table<Avx512Fused>();

}  // namespace fxquant
