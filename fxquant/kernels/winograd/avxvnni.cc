// vpdpwssd ymm: 16 multiply-adds of int16. 6 x 16 products are 12 accumulators.
#include <immintrin.h>

#include <cstdint>

#include "base/vnni_ymm.h"
#include "gemm/ymm.h"
#include "winograd/generic.h"

namespace fxquant {
namespace {

struct AvxVnni : Ymm {
  static constexpr int kTiles = 6, kStepBytes = 32;
  static constexpr bool kWide = false;
  static FXQUANT_INLINE Acc broadcast_words(uint32_t pair) { return _mm256_set1_epi32(static_cast<int>(pair)); }
  static FXQUANT_INLINE Acc dot_words(Acc acc, Acc pair, const uint16_t* w) {
    return dpwssd(acc, pair, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w)));
  }
};

}  // namespace

const WinogradKernels winograd_avxvnni = {AvxVnni::kTiles, Winograd<AvxVnni>::transform, Winograd<AvxVnni>::multiply};

}  // namespace fxquant
