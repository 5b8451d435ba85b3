// Sixteen vpshufb, one for every 16 entries of the table, summed by xor.
//
// vpshufb yields entry (code & 15), or 0 where bit 7 is set. Step j looks code - 16 * j up in part[j], so its bit 7
// says on which side of 16 * j the code lies. For codes below 128 steps 0..h count (h = code >> 4), for
// codes = 128 + 16 * h + .. steps h+1..8 (the subtraction has wrapped) and 9..8+h (it saturates from there on, so that
// the lower codes stay out). With t[j] the 16 entries from 16 * j on:
//   part[0] = t[0]    part[j] = t[j] ^ t[j-1]    part[8] = t[8] ^ t[7] ^ t[0]    part[8+h] = t[8+h] ^ t[7+h] ^ part[h]
#include <immintrin.h>

#include "lookup/lookup.h"

namespace fxquant {
namespace {

constexpr int64_t kVectors = 4;

struct Parts {
  __m256i part[16];

  explicit Parts(const uint8_t* table) {
    __m256i before = _mm256_setzero_si256();
    for (int j = 0; j < 16; ++j) {
      const __m128i entries = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table + 16 * j));
      const __m256i both = _mm256_broadcastsi128_si256(entries);
      part[j] = _mm256_xor_si256(both, before);
      if (j >= 8) part[j] = _mm256_xor_si256(part[j], part[j - 8]);
      before = both;
    }
  }

  void look_up(const uint8_t* x, uint8_t* y) const {
    const __m256i sixteen = _mm256_set1_epi8(16);
    __m256i codes[kVectors], sums[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      codes[v] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x) + v);
      sums[v] = _mm256_shuffle_epi8(part[0], codes[v]);
    }
    for (int j = 1; j < 16; ++j) {
      for (int v = 0; v < kVectors; ++v) {
        codes[v] = j <= 8 ? _mm256_sub_epi8(codes[v], sixteen) : _mm256_subs_epi8(codes[v], sixteen);
        sums[v] = _mm256_xor_si256(sums[v], _mm256_shuffle_epi8(part[j], codes[v]));
      }
    }
    for (int v = 0; v < kVectors; ++v) _mm256_storeu_si256(reinterpret_cast<__m256i*>(y) + v, sums[v]);
  }
};

void lookup_run(const uint8_t* x, uint8_t* y, int64_t count, const uint8_t* table) {
  constexpr int64_t kStep = 32 * kVectors;
  int64_t i = 0;
  if (count >= kStep) {
    const Parts parts(table);
    for (; i + kStep <= count; i += kStep) parts.look_up(x + i, y + i);
  }
  for (; i < count; ++i) y[i] = table[x[i]];
}

}  // namespace

extern const LookupKernels lookup_avx2;
const LookupKernels lookup_avx2 = {lookup_run};

}  // namespace fxquant
