// Two codes of a byte are put side by side by a shift within 16 bits.
#include "base/lanes_avx2.h"
#include "embedding/generic.h"

namespace fxquant {
namespace {

struct Lanes : Avx2Lanes {
  static F32 load_u4(const uint8_t* p, int64_t count, bool) {
    const uint64_t bytes = count == kCount ? load_as<uint32_t>(p) : load_bytes(p, (count + 1) / 2);
    const __m128i words = _mm_cvtepu8_epi16(_mm_cvtsi64_si128(static_cast<int64_t>(bytes)));
    const __m128i codes = _mm_and_si128(_mm_or_si128(words, _mm_slli_epi16(words, 4)), _mm_set1_epi8(15));
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(codes));
  }
};

}  // namespace

extern const EmbeddingKernels embedding_avx2;
const EmbeddingKernels embedding_avx2 = embedding_table<Lanes>();

}  // namespace fxquant
