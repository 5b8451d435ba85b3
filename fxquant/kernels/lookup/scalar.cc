#include "lookup/lookup.h"

namespace fxquant {
namespace {

void lookup_run(const uint8_t* x, uint8_t* y, int64_t count, const uint8_t* table) {
  for (int64_t i = 0; i < count; ++i) y[i] = table[x[i]];
}

}  // namespace

extern const LookupKernels lookup_scalar;
const LookupKernels lookup_scalar = {lookup_run};

}  // namespace fxquant
