// vpdpbusd ymm: 32 multiply-adds, latency 5. 6 x 16 outputs: 12 accumulators, 2 weights, 1 broadcast.
#include <immintrin.h>

#include <cstdint>

#include "base/vnni_ymm.h"
#include "gemm/ymm.h"

namespace fxquant {
namespace {

struct AvxVnni : Ymm {
  static constexpr int kRows = 6, kStepBytes = 32;
  using Activations = __m256i;
  using Weights = __m256i;

  static FXQUANT_INLINE Activations broadcast(uint32_t bytes) { return _mm256_set1_epi32(static_cast<int>(bytes)); }
  static FXQUANT_INLINE Weights weights(const uint8_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  static FXQUANT_INLINE Acc dot(Acc acc, Activations x, Weights w) { return dpbusd(acc, x, w); }
};

}  // namespace

void run_product_avxvnni(const Product& product, const RunPart& part) { Run<AvxVnni>(product, part)(); }

}  // namespace fxquant
