// linear of float32 with weights of int8 or float16, each group of inputs with a scale for every output:
//   part[m, n, g] = sum over the inputs k of g, in their order from 0.0 on, of x[m, k] * w[n, k]
//   y[m, n] = clamp(sum over the groups g, in their order from bias[n] on, of part[m, n, g] * scale[n, g])
// Every product is added by a fused multiply-add, which rounds once: so all ISAs agree, and so do all numbers of rows.
//
// Weights are packed once, for one ISA:
//   header | panel 0, panel 1, ...
//   panel: bias float[columns] | scale float[groups][columns] | weights int8 or float16[inputs][columns]
// with zeros where a column is padding.
#pragma once
#include <cstdint>

#include "base/isa.h"
#include "base/requantize.h"

namespace fxquant {

struct WeightOnlyHeader {
  uint64_t checksum;  // header_checksum of base/packed.h
  uint64_t magic;
  int32_t isa, weight_bytes;  // of each weight: 1, or 2 of float16
  int64_t inputs, outputs, group, size;
  FloatOutput output;

  int64_t groups() const { return inputs / group; }
};

// weight or halves [outputs, inputs], scale [outputs, inputs / group], bias [outputs], contiguous.
struct WeightOnlyWeights {
  int64_t inputs = 0, outputs = 0, group = 1;
  const int8_t* weight = nullptr;
  const float *scale = nullptr, *bias = nullptr;
  FloatOutput output;
  const uint16_t* halves = nullptr;  // bits of float16, in place of `weight`
  int32_t weight_bytes = 1;
};

// x [rows, inputs] and y [rows, outputs], elements of a row side by side, with row strides in elements.
struct WeightOnlyLinear {
  const WeightOnlyHeader* packed = nullptr;
  int64_t rows = 0, x_stride = 0, y_stride = 0;
};

struct WeightOnlyKernels {
  int64_t columns;  // of a panel
  // Panels [begin, end).
  void (*run)(const WeightOnlyLinear& p, float* y, const float* x, int64_t begin, int64_t end);
};

int64_t weight_only_size(const WeightOnlyWeights& w, Isa isa);

// Packs into `packed`, of weight_only_size bytes.
void pack_weight_only(const WeightOnlyWeights& w, Isa isa, uint8_t* packed);

// The header of `size` bytes at `packed`. Throws std::invalid_argument unless they were packed for `isa`.
const WeightOnlyHeader& weight_only_header(const uint8_t* packed, int64_t size, Isa isa);

void weight_only_linear(const WeightOnlyLinear& p, float* y, const float* x, int threads);

}  // namespace fxquant
