// vpermi2b (VBMI) looks 64 codes up in 128 entries: twice, and bit 7 of the code chooses.
#include <immintrin.h>

#include "lookup/lookup.h"

namespace fxquant {
namespace {

struct Table {
  __m512i quarter[4];

  explicit Table(const uint8_t* table) {
    for (int k = 0; k < 4; ++k) quarter[k] = _mm512_loadu_si512(table + 64 * k);
  }
  __m512i operator()(__m512i codes) const {
    const __m512i low = _mm512_permutex2var_epi8(quarter[0], codes, quarter[1]);
    const __m512i high = _mm512_permutex2var_epi8(quarter[2], codes, quarter[3]);
    return _mm512_mask_mov_epi8(low, _mm512_movepi8_mask(codes), high);
  }
};

void lookup_run(const uint8_t* x, uint8_t* y, int64_t count, const uint8_t* table) {
  const Table entries(table);
  int64_t i = 0;
  for (; i + 64 <= count; i += 64) _mm512_storeu_si512(y + i, entries(_mm512_loadu_si512(x + i)));
  if (i == count) return;
  const __mmask64 rest = ~0ULL >> (64 - (count - i));
  _mm512_mask_storeu_epi8(y + i, rest, entries(_mm512_maskz_loadu_epi8(rest, x + i)));
}

}  // namespace

extern const LookupKernels lookup_avx512vnni;
const LookupKernels lookup_avx512vnni = {lookup_run};

}  // namespace fxquant
