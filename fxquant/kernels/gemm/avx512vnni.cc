// vpdpbusd zmm: 64 multiply-adds, latency 4-5. 14 x 32 outputs are 28 accumulators, 2 weights, 1 broadcast.
#include <immintrin.h>

#include <cstdint>

#include "gemm/zmm.h"

namespace fxquant {
namespace {

struct Avx512Vnni : Zmm {
  static constexpr int kRows = 14, kStepBytes = 64;
  static constexpr bool kSpreads = true;
  using Activations = __m512i;
  using Weights = __m512i;

  static FXQUANT_INLINE Activations broadcast(uint32_t bytes) { return _mm512_set1_epi32(static_cast<int>(bytes)); }
  static FXQUANT_INLINE Weights weights(const uint8_t* p) { return _mm512_loadu_si512(p); }
  static FXQUANT_INLINE Acc dot(Acc acc, Activations x, Weights w) { return _mm512_dpbusd_epi32(acc, x, w); }

  // vpermd: a lane takes dword `Step` of the `Steps` that its group has.
  template <int Steps, int Step>
  static FXQUANT_INLINE Activations spread(const uint8_t* p) {
    constexpr int kSecond = Steps == 1 ? 1 : 0, kThird = Steps == 1 ? 2 : Steps, kFourth = kThird + kSecond;
    const __m512i dwords = _mm512_setr_epi32(0, 0, 0, 0, kSecond, kSecond, kSecond, kSecond, kThird, kThird, kThird,
                                             kThird, kFourth, kFourth, kFourth, kFourth);
    const __m512i bytes = _mm512_castsi128_si512(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    return _mm512_permutexvar_epi32(_mm512_add_epi32(dwords, _mm512_set1_epi32(Step)), bytes);
  }
};

}  // namespace

void run_product_avx512vnni(const Product& product, const RunPart& part) { Run<Avx512Vnni>(product, part)(); }

}  // namespace fxquant
