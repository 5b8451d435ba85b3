// linear with weights whose inputs are divided into groups, each with a scale of its own for every output:
//   total[m, n] = sum over groups g, in their order from 0.0 on, of float(acc[m, n, g]) * scale[n, g]
//   acc[m, n, g] = sum over the inputs k of g of (x[m, k] - x_zero_point) * w[n, k]                exact, int32
//   y[m, n] = round_and_saturate(total[m, n] * multiplier + bias[n])                        (base/requantize.h)
// or, of rows that were quantized at run time (dynamic/dynamic.h), each with a zero point and a scale of its own,
// float32
//   y[m, n] = clamp(total[m, n] * scale[m] + bias[n], low, high)
// Each float operation rounds on its own.
//
// Weights are packed once, for one ISA, whatever becomes of the activations:
//   header | panel 0, panel 1, ...
//   panel: for each group sums of w int32[columns] | scale float[columns] | weights[step][columns][4]
// a step being four k of a group, with zeros where k or a column is padding.
#pragma once
#include <cstdint>

#include "base/isa.h"
#include "base/requantize.h"
#include "gemm/gemm.h"

namespace fxquant {

struct GroupedHeader {
  uint64_t checksum;  // header_checksum of base/packed.h
  uint64_t magic;
  int64_t isa, inputs, outputs, group, size;

  int64_t groups() const { return (inputs + group - 1) / group; }
};

// weight [outputs, inputs], scale [outputs, groups], contiguous.
struct GroupedWeights {
  int64_t inputs = 0, outputs = 0, group = 1;
  const int8_t* weight = nullptr;
  const float* scale = nullptr;
};

// x [rows, inputs] and y [rows, outputs] with row strides in bytes.
struct GroupedLinear {
  const GroupedHeader* packed = nullptr;
  int64_t rows = 0, x_stride = 0, y_stride = 0;
  int32_t x_zero_point = 0;
  float multiplier = 1.0F;
  const float* bias = nullptr;  // [outputs]
  Requantize output;
  const RowTerms* terms = nullptr;  // [rows]: y is float32, within `bounds`
  FloatOutput bounds;
};

struct GroupedKernels {
  int64_t columns, rows;  // of a tile
  // Tiles [begin, end), counted along the rows within each panel.
  void (*run)(const GroupedLinear& p, uint8_t* y, const uint8_t* x, int64_t begin, int64_t end);
};

int64_t grouped_size(const GroupedWeights& w, Isa isa);

// Packs into `packed`, of grouped_size bytes.
void pack_grouped(const GroupedWeights& w, Isa isa, uint8_t* packed);

// The header of `size` bytes at `packed`. Throws std::invalid_argument unless they were packed for `isa`.
const GroupedHeader& grouped_header(const uint8_t* packed, int64_t size, Isa isa);

void grouped_linear(const GroupedLinear& p, uint8_t* y, const uint8_t* x, int threads);

}  // namespace fxquant
