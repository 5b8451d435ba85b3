// vpdpwssd zmm: 32 multiply-adds of int16, at the rate of vpdpbusd's 64. 14 x 32 products are 28 accumulators.
#include <immintrin.h>

#include <cstdint>

#include "gemm/zmm.h"
#include "winograd/generic.h"

namespace fxquant {
namespace {

struct Avx512Vnni : Zmm {
  static constexpr int kTiles = 14, kStepBytes = 64;
  static constexpr bool kWide = false;
  static FXQUANT_INLINE Acc broadcast_words(uint32_t pair) { return _mm512_set1_epi32(static_cast<int>(pair)); }
  static FXQUANT_INLINE Acc dot_words(Acc acc, Acc pair, const uint16_t* w) {
    return _mm512_dpwssd_epi32(acc, pair, _mm512_loadu_si512(w));
  }
};

}  // namespace

const WinogradKernels winograd_avx512vnni = {Avx512Vnni::kTiles, Winograd<Avx512Vnni>::transform,
                                             Winograd<Avx512Vnni>::multiply};

}  // namespace fxquant
