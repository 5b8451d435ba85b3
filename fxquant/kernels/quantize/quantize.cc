#include "quantize/quantize.h"

#include "base/kernel_rows.h"

namespace fxquant {

#define KERNELS(isa, table) extern const QuantizeKernels table;
#include "quantize/kernels.inc"
#undef KERNELS

namespace {

constexpr KernelRow<QuantizeKernels> kRows[] = {
#define KERNELS(isa, table) {Isa::isa, &table},
#include "quantize/kernels.inc"
#undef KERNELS
};

}  // namespace

void quantize(const Walk<2>& walk, uint8_t* y, const float* x, const Quantize& params, Isa isa, int threads) {
  const QuantizeKernels& kernels = kernels_of(kRows, isa);
  for_each_plane(walk, threads, [&](const Plane<2>& plane) {
    kernels.quantize(plane, y + plane.offset[0], x + plane.offset[1], params);
  });
}

void dequantize(const Walk<2>& walk, float* y, const uint8_t* x, const Dequantize& params, Isa isa, int threads) {
  const QuantizeKernels& kernels = kernels_of(kRows, isa);
  for_each_plane(walk, threads, [&](const Plane<2>& plane) {
    kernels.dequantize(plane, y + plane.offset[0], x + plane.offset[1], params);
  });
}

}  // namespace fxquant
