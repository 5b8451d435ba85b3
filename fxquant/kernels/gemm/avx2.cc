// Exact without VNNI: vpmaddubsw would saturate at 16 bits, so even and odd bytes are widened and vpmaddwd sums each
// half. 2 multiplies and 2 adds make 32 multiply-adds. Weights are packed as int16 for it.
#include <immintrin.h>

#include <cstdint>

#include "gemm/ymm.h"

namespace fxquant {
namespace {

struct Avx2 : Ymm {
  static constexpr int kRows = 4, kStepBytes = 64;
  struct Activations {
    __m256i even, odd;
  };
  using Weights = const __m256i*;

  static FXQUANT_INLINE Activations broadcast(uint32_t bytes) {
    const __m256i x = _mm256_set1_epi32(static_cast<int>(bytes));
    return {_mm256_and_si256(x, _mm256_set1_epi16(255)), _mm256_srli_epi16(x, 8)};
  }
  static FXQUANT_INLINE Weights weights(const uint8_t* p) { return reinterpret_cast<const __m256i*>(p); }
  static FXQUANT_INLINE Acc dot(Acc acc, const Activations& x, Weights w) {
    acc = _mm256_add_epi32(acc, _mm256_madd_epi16(x.even, _mm256_loadu_si256(w)));
    return _mm256_add_epi32(acc, _mm256_madd_epi16(x.odd, _mm256_loadu_si256(w + 1)));
  }
};

}  // namespace

void run_product_avx2(const Product& product, const RunPart& part) { Run<Avx2>(product, part)(); }

}  // namespace fxquant
