// The borders of an int8 region, each fused with the change of layout between NCHW and NHWC:
//   quantize     q = clamp(rne(x / scale) + zero_point, quant_min, quant_max)     a true division; NaN gives quant_min
//   dequantize   x = float(q - zero_point) * scale
#pragma once
#include <cstdint>

#include "base/isa.h"
#include "base/requantize.h"
#include "base/strided.h"

namespace fxquant {

struct Quantize {
  float scale = 1.0F;
  Requantize output;
};

struct Dequantize {
  float scale = 1.0F;
  int32_t zero_point = 0;
};

// In walks and planes tensor 0 is the one written, tensor 1 the one read.
struct QuantizeKernels {
  void (*quantize)(const Plane<2>& plane, uint8_t* y, const float* x, const Quantize& params);
  void (*dequantize)(const Plane<2>& plane, float* y, const uint8_t* x, const Dequantize& params);
};

void quantize(const Walk<2>& walk, uint8_t* y, const float* x, const Quantize& params, Isa isa, int threads);
void dequantize(const Walk<2>& walk, float* y, const uint8_t* x, const Dequantize& params, Isa isa, int threads);

}  // namespace fxquant
