#include "norm/norm.h"

#include "base/parallel.h"

namespace fxquant {

#define KERNELS(isa, table) extern const NormKernels table;
#include "norm/kernels.inc"
#undef KERNELS

namespace {

const NormKernels& norm_kernels(Isa isa) {
  switch (isa) {
#define KERNELS(name, table) \
  case Isa::name:            \
    return table;
#include "norm/kernels.inc"
#undef KERNELS
  FXQUANT_FOREIGN_ISAS:
    break;
  }
  return norm_scalar;
}

}  // namespace

// For each channel four sums, of which two have 64 bits, and two floats.
int64_t group_norm_scratch(int64_t channels) { return (channels * 32 + 63) / 64 * 64; }

void layer_norm(const LayerNorm& p, uint8_t* y, const uint8_t* x, Isa isa, int threads) {
  const NormKernels& kernels = norm_kernels(isa);
  const int64_t count = p.rows.length > 0 ? p.rows.count : 0;
  parallel_for(count, worthwhile_threads(4 * count * p.rows.length, threads),
               [&](int64_t begin, int64_t end) { kernels.layer_norm(p, y, x, begin, end); });
}

void group_norm(const GroupNorm& p, uint8_t* y, const uint8_t* x, uint8_t* scratch, Isa isa, int threads) {
  const NormKernels& kernels = norm_kernels(isa);
  const int64_t size = p.rows.count * p.rows.length, count = size > 0 ? p.examples : 0;
  const int worth = worthwhile_threads(4 * count * size, threads);
  const int64_t parts = count < worth ? count : worth, bytes = group_norm_scratch(p.rows.length);
  parallel_for(parts, static_cast<int>(parts), [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      kernels.group_norm(p, y, x, count * part / parts, count * (part + 1) / parts, scratch + part * bytes);
    }
  });
}

}  // namespace fxquant
