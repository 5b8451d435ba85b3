#include "base/lanes_avx2.h"
#include "weight_only/generic.h"

namespace fxquant {
namespace {

// 6 x 16 outputs are 12 accumulators, 2 weights, 1 broadcast.
struct Avx2Fused : Avx2Lanes {
  static constexpr int kVectors = 2, kRows = 6;

  static void widen(const int8_t* p, F32 (&w)[kVectors]) {
    unroll<kVectors>([&](auto v) FXQUANT_UNROLLED {
      const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + v * kCount));
      w[v] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
    });
  }
  static void widen(const uint16_t* p, F32 (&w)[kVectors]) {
    unroll<kVectors>([&](auto v) FXQUANT_UNROLLED {
      w[v] = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + v * kCount)));
    });
  }
  static F32 fma(F32 a, F32 b, F32 c) { return _mm256_fmadd_ps(a, b, c); }
  static F32 less(F32 a, F32 b) { return _mm256_min_ps(a, b); }
};

}  // namespace

extern const WeightOnlyKernels weight_only_avx2;
const WeightOnlyKernels weight_only_avx2 = weight_only_table<Avx2Fused>();

}  // namespace fxquant
