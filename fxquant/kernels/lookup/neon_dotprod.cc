// tbl and tbx, 64 entries each.
#include "base/bytes_neon.h"
#include "lookup/lookup.h"

namespace fxquant {
namespace {

void lookup_run(const uint8_t* x, uint8_t* y, int64_t count, const uint8_t* table) {
  const NeonTable entries(table);
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) vst1q_u8(y + i, entries(vld1q_u8(x + i)));
  for (; i < count; ++i) y[i] = table[x[i]];
}

}  // namespace

extern const LookupKernels lookup_neon_dotprod;
const LookupKernels lookup_neon_dotprod = {lookup_run};

}  // namespace fxquant
