// All lanes have the eight bytes, of which vpmultishiftqb brings each its code, and bits that are not its own.
#include "base/few_bytes.h"
#include "base/lanes_avx512.h"
#include "embedding/generic.h"

namespace fxquant {
namespace {

struct Lanes : Avx512Lanes {
  static F32 from_u4(uint64_t bytes) {
    const __m512i shifts = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60);
    const __m512i codes = _mm512_multishift_epi64_epi8(shifts, _mm512_set1_epi64(static_cast<int64_t>(bytes)));
    return _mm512_cvtepi32_ps(_mm512_and_si512(codes, _mm512_set1_epi32(15)));
  }
  static F32 load_u4(const uint8_t* p, int64_t at) { return from_u4(load_as<uint64_t>(p + at / 2)); }
  static F32 load_u4_of(const uint8_t* p, int64_t count) { return from_u4(load_bytes(p, (count + 1) / 2)); }
};

}  // namespace

extern const EmbeddingKernels embedding_avx512vnni;
const EmbeddingKernels embedding_avx512vnni = embedding_table<Lanes>();

}  // namespace fxquant
