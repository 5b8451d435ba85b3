#include "elementwise/elementwise.h"

#include "base/kernel_rows.h"

namespace fxquant {

#define KERNELS(isa, table) extern const ElementwiseKernels table;
#include "elementwise/kernels.inc"
#undef KERNELS

namespace {

constexpr KernelRow<ElementwiseKernels> kRows[] = {
#define KERNELS(isa, table) {Isa::isa, &table},
#include "elementwise/kernels.inc"
#undef KERNELS
};

}  // namespace

void add(const Walk<3>& walk, uint8_t* y, const uint8_t* a, const uint8_t* b, const Add& params, Isa isa, int threads) {
  const ElementwiseKernels& kernels = kernels_of(kRows, isa);
  for_each_plane(walk, threads, [&](const Plane<3>& plane) {
    kernels.add(plane, y + plane.offset[0], a + plane.offset[1], b + plane.offset[2], params);
  });
}

void mul(const Walk<3>& walk, uint8_t* y, const uint8_t* a, const uint8_t* b, const Mul& params, Isa isa, int threads) {
  const ElementwiseKernels& kernels = kernels_of(kRows, isa);
  for_each_plane(walk, threads, [&](const Plane<3>& plane) {
    kernels.mul(plane, y + plane.offset[0], a + plane.offset[1], b + plane.offset[2], params);
  });
}

}  // namespace fxquant
