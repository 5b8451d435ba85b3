// Each lane shifts the four bytes that hold its code.
#include "base/lanes_avx2.h"
#include "embedding/generic.h"

namespace fxquant {
namespace {

struct Lanes : Avx2Lanes {
  static F32 from_u4(uint32_t bytes) {
    const __m256i shifts = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
    const __m256i codes = _mm256_srlv_epi32(_mm256_set1_epi32(static_cast<int>(bytes)), shifts);
    return _mm256_cvtepi32_ps(_mm256_and_si256(codes, _mm256_set1_epi32(15)));
  }
  static F32 load_u4(const uint8_t* p, int64_t at) { return from_u4(load_as<uint32_t>(p + at / 2)); }
  static F32 load_u4_of(const uint8_t* p, int64_t count) {
    return from_u4(static_cast<uint32_t>(load_bytes(p, (count + 1) / 2)));
  }
};

}  // namespace

extern const EmbeddingKernels embedding_avx2;
const EmbeddingKernels embedding_avx2 = embedding_table<Lanes>();

}  // namespace fxquant
