#include "quantize/quantize.h"

namespace fxquant {

#define KERNELS(isa, table) extern const QuantizeKernels table;
#include "quantize/kernels.inc"
#undef KERNELS

namespace {

const QuantizeKernels& quantize_kernels(Isa isa) {
  switch (isa) {
#define KERNELS(name, table) \
  case Isa::name:            \
    return table;
#include "quantize/kernels.inc"
#undef KERNELS
  FXQUANT_FOREIGN_ISAS:
    break;
  }
  return quantize_scalar;
}

}  // namespace

void quantize(const Walk<2>& walk, uint8_t* y, const float* x, const Quantize& params, Isa isa, int threads) {
  const QuantizeKernels& kernels = quantize_kernels(isa);
  for_each_plane(walk, threads, [&](const Plane<2>& plane) {
    kernels.quantize(plane, y + plane.offset[0], x + plane.offset[1], params);
  });
}

void dequantize(const Walk<2>& walk, float* y, const uint8_t* x, const Dequantize& params, Isa isa, int threads) {
  const QuantizeKernels& kernels = quantize_kernels(isa);
  for_each_plane(walk, threads, [&](const Plane<2>& plane) {
    kernels.dequantize(plane, y + plane.offset[0], x + plane.offset[1], params);
  });
}

}  // namespace fxquant
