#include "softmax/softmax.h"

#include "base/parallel.h"

namespace fxquant {

#define KERNELS(isa, table) extern const SoftmaxKernels table;
#include "softmax/kernels.inc"
#undef KERNELS

namespace {

const SoftmaxKernels& softmax_kernels(Isa isa) {
  switch (isa) {
#define KERNELS(name, table) \
  case Isa::name:            \
    return table;
#include "softmax/kernels.inc"
#undef KERNELS
  FXQUANT_FOREIGN_ISAS:
    break;
  }
  return softmax_scalar;
}

}  // namespace

// Two rows of floats, each in whole vectors.
int64_t softmax_scratch(int64_t length) { return (length + 15) / 16 * 16 * 8; }

void softmax(const Softmax& p, const SoftmaxOperands& operands, uint8_t* scratch, Isa isa, int threads) {
  const SoftmaxKernels& kernels = softmax_kernels(isa);
  const int64_t count = p.rows.length > 0 ? p.rows.count : 0, bytes = softmax_scratch(p.rows.length);
  const int worth = worthwhile_threads(count * p.rows.length * 8, threads);
  const int64_t parts = count < worth ? count : worth;
  parallel_for(parts, static_cast<int>(parts), [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      kernels.softmax(p, operands, count * part / parts, count * (part + 1) / parts, scratch + part * bytes);
    }
  });
}

}  // namespace fxquant
