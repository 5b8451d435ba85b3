#include "elementwise/elementwise.h"

namespace fxquant {

#define KERNELS(isa, table) extern const ElementwiseKernels table;
#include "elementwise/kernels.inc"
#undef KERNELS

namespace {

const ElementwiseKernels& elementwise_kernels(Isa isa) {
  switch (isa) {
#define KERNELS(name, table) \
  case Isa::name:            \
    return table;
#include "elementwise/kernels.inc"
#undef KERNELS
  FXQUANT_FOREIGN_ISAS:
    break;
  }
  return elementwise_scalar;
}

}  // namespace

void add(const Walk<3>& walk, uint8_t* y, const uint8_t* a, const uint8_t* b, const Add& params, Isa isa, int threads) {
  const ElementwiseKernels& kernels = elementwise_kernels(isa);
  for_each_plane(walk, threads, [&](const Plane<3>& plane) {
    kernels.add(plane, y + plane.offset[0], a + plane.offset[1], b + plane.offset[2], params);
  });
}

void mul(const Walk<3>& walk, uint8_t* y, const uint8_t* a, const uint8_t* b, const Mul& params, Isa isa, int threads) {
  const ElementwiseKernels& kernels = elementwise_kernels(isa);
  for_each_plane(walk, threads, [&](const Plane<3>& plane) {
    kernels.mul(plane, y + plane.offset[0], a + plane.offset[1], b + plane.offset[2], params);
  });
}

}  // namespace fxquant
