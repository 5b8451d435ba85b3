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

template <class Params>
void run(ElementwiseKernel<Params> ElementwiseKernels::* kernel, const Walk<3>& walk, uint8_t* y, const uint8_t* a,
         const uint8_t* b, const Params& params, Isa isa, int threads) {
  const ElementwiseKernel<Params> one = kernels_of(kRows, isa).*kernel;
  for_each_plane(walk, threads, [&](const Plane<3>& plane) {
    one(plane, y + plane.offset[0], a + plane.offset[1], b + plane.offset[2], params);
  });
}

}  // namespace

void add(const Walk<3>& walk, uint8_t* y, const uint8_t* a, const uint8_t* b, const Add& params, Isa isa, int threads) {
  run(&ElementwiseKernels::add, walk, y, a, b, params, isa, threads);
}

void mul(const Walk<3>& walk, uint8_t* y, const uint8_t* a, const uint8_t* b, const Mul& params, Isa isa, int threads) {
  run(&ElementwiseKernels::mul, walk, y, a, b, params, isa, threads);
}

void maximum(const Walk<3>& walk, uint8_t* y, const uint8_t* a, const uint8_t* b, const Maximum& params, Isa isa,
             int threads) {
  run(&ElementwiseKernels::maximum, walk, y, a, b, params, isa, threads);
}

void minimum(const Walk<3>& walk, uint8_t* y, const uint8_t* a, const uint8_t* b, const Minimum& params, Isa isa,
             int threads) {
  run(&ElementwiseKernels::minimum, walk, y, a, b, params, isa, threads);
}

void div(const Walk<3>& walk, uint8_t* y, const uint8_t* a, const uint8_t* b, const Div& params, Isa isa, int threads) {
  run(&ElementwiseKernels::div, walk, y, a, b, params, isa, threads);
}

}  // namespace fxquant
