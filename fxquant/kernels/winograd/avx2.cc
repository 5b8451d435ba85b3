// vpmaddwd ymm: 16 multiply-adds of int16 with a sum each. 4 x 16 products are 8 accumulators.
#include <immintrin.h>

#include <cstdint>

#include "gemm/ymm.h"
#include "winograd/generic.h"

namespace fxquant {
namespace {

struct Avx2 : Ymm {
  static constexpr int kTiles = 4, kStepBytes = 64;
  static constexpr bool kWide = true;
  static FXQUANT_INLINE Acc broadcast_words(uint32_t pair) { return _mm256_set1_epi32(static_cast<int>(pair)); }
  static FXQUANT_INLINE Acc dot_words(Acc acc, Acc pair, const uint16_t* w) {
    const __m256i weights = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w));
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pair, weights));
  }
};

}  // namespace

const WinogradKernels winograd_avx2 = {Avx2::kTiles, Winograd<Avx2>::transform, Winograd<Avx2>::multiply};

}  // namespace fxquant
