// Two codes of a byte are put side by side by a shift within 16 bits.
#include "base/few_bytes.h"
#include "base/lanes_avx512.h"
#include "embedding/generic.h"

namespace fxquant {
namespace {

struct Lanes : Avx512Lanes {
  static F32 load_u4(const uint8_t* p, int64_t count, bool) {
    const __m128i words = _mm_cvtepu8_epi16(_mm_cvtsi64_si128(static_cast<int64_t>(load_bytes(p, (count + 1) / 2))));
    return from_u8(_mm_and_si128(_mm_or_si128(words, _mm_slli_epi16(words, 4)), _mm_set1_epi8(15)));
  }
};

}  // namespace

extern const EmbeddingKernels embedding_avx512vnni;
const EmbeddingKernels embedding_avx512vnni = embedding_table<Lanes>();

}  // namespace fxquant
