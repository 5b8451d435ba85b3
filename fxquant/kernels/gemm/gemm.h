// The product that linear and convolution layers are made of, and linear itself.
//
// Output row m (a pixel, or a row of a matrix), group g, column n; c = g * group_outputs + n:
//   acc[m, c] = bias[c] + sum over taps t, bytes k of
//                   (a_m[tap_offset(t) + g * group_inputs + k] - x_zero_point) * w[c, t, k]
//   y[m, c] = table[ requantize(acc[m, c], multiplier[c], residual_term(r[m, c])) ]       (base/requantize.h)
// or, for layers of which nothing reads integers,
//   y[m, c] = to_float(acc[m, c], 1, multiplier[c], float_bias[c])    float32; without residual and table
// or, for dynamic layers, whose inputs get their zero points and scales at run time, row by row,
//   y[m, c] = to_float(acc[m, c], scale[m], multiplier[c], float_bias[c])   with x_zero_point[m] in acc, no bias in it
// a_m is the m-th row pointer. A 1x1 convolution and linear have one tap at offset 0.
//
// Weights are packed once (`pack_product`) for one ISA:
//   header | table[256] | group 0: panel 0, panel 1, ... | group 1: ...
//   panel: bias[columns] int32 | multiplier[columns] float | float_bias[columns], of float outputs only
//          | weights[step][columns][4], a step being four k of a tap
// with (activation_offset - x_zero_point) * sum(w) folded into the bias (of a dynamic layer it is sum(w) alone), and
// zeros where k or a column is padding. The columns of a panel are permuted, and some ISAs take other steps of k, see
// pack.h.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/isa.h"
#include "base/requantize.h"
#include "base/tensor.h"

namespace fxquant {

enum class Layer : int32_t { linear = 0, conv = 1, dynamic_linear = 2, dynamic_conv = 3 };

constexpr bool is_dynamic(Layer layer) { return layer == Layer::dynamic_linear || layer == Layer::dynamic_conv; }

// What an output row of a dynamic layer brings along: how its inputs were quantized.
struct RowTerms {
  int32_t zero_point;
  float scale;
};

// The layer as its owner describes it. weight[c][k][tap_h][tap_w], k < in_channels / groups, all contiguous.
struct LayerWeights {
  Layer layer = Layer::linear;
  int64_t in_channels = 0, out_channels = 0, kernel_h = 1, kernel_w = 1, groups = 1;
  bool dense_w = true;  // dilation_w == 1: the taps of a kernel row touch, so they may be packed as one
  const int8_t* weight = nullptr;
  const int32_t* bias = nullptr;  // or null, for zeros
  const float* multiplier = nullptr;
  int32_t x_zero_point = 0;
  Requantize output;
  bool has_residual = false;
  Residual residual;
  const uint8_t* table = nullptr;  // 256 entries, or null
  bool gives_floats = false;       // float_output in place of output, residual and table
  const float* float_bias = nullptr;
  FloatOutput float_output;
};

// What packed weights begin with.
struct PackedHeader {
  uint64_t checksum;  // header_checksum of base/packed.h
  uint32_t magic;
  Layer layer;
  Isa isa;
  int32_t has_residual, has_table, gives_floats, x_zero_point;
  Requantize output;
  FloatOutput float_output;
  Residual residual;
  int32_t bounded;     // no input makes acc * multiplier + residual_term leave int32
  int32_t merged_row;  // a whole kernel row is one tap: kernel_w * in_channels bytes
  int32_t spread;      // inputs of a group if a step takes four of each joined group, see pack.h; else 0
  int64_t size;
  int64_t largest_sum;  // of any channel and input, without bias and zero point
  int64_t in_channels, out_channels, kernel_h, kernel_w, groups;        // as described
  int64_t packed_groups, group_inputs, group_outputs, taps, tap_bytes;  // as packed: small groups are joined

  int64_t output_size() const { return gives_floats ? 4 : 1; }  // bytes of an output
  const uint8_t* table() const;
  const uint8_t* panels() const;
};

// How many bytes `pack_product` writes for these weights.
int64_t packed_size(const LayerWeights& layer, Isa isa);

// Packs into `packed`, 64-byte aligned, of packed_size bytes. Returns -1, or the first output channel whose
// accumulator could leave int32 for some uint8 input; nothing may run such a layer.
int64_t pack_product(const LayerWeights& layer, Isa isa, uint8_t* packed);

// The header of `size` bytes at `packed`. Throws std::invalid_argument unless they are a `layer` packed for `isa`.
const PackedHeader& packed_header(const uint8_t* packed, int64_t size, Layer layer, Isa isa);

// Taps lie on a grid: tap (i, j) is at offset i * stride_h + j * stride_w from the row pointer, and has `bytes` bytes.
struct Taps {
  int64_t h = 1, w = 1, stride_h = 0, stride_w = 0, bytes = 0;
};

struct Span {
  const uint8_t* data = nullptr;
  int64_t bytes = 0;
};

// One run over packed weights. `a`, `residual` and `y` have the same n, h, w: the grid of output rows. a.at(n, h, w) is
// the row pointer of that output row; residual.data is null where the layer has none. Bytes of `a` are read only in
// front of a_end, bytes of y written only where an output is. y may be the residual itself. Where outputs are floats
// the strides of y are in bytes, and its channels need not lie side by side. Of a dynamic layer `residual` is where
// each output row's RowTerms are.
struct Product {
  const PackedHeader* packed = nullptr;
  Nhwc<const uint8_t> a;
  const uint8_t* a_end = nullptr;
  Taps taps;
  Nhwc<const uint8_t> residual;
  Nhwc<uint8_t> y;
  int64_t y_stride_c = 4;  // bytes from a float to that of the next channel
  Span next;               // packed weights that are wanted next, to be fetched into the cache meanwhile; or none
};

// Computes the product on at most `threads` threads with the ISA that the weights were packed for.
void run_product(const Product& product, int threads);

// y[m, n] for x [rows, in_channels] and y [rows, out_channels] with row strides in bytes; residual (or null) is laid
// out as y.
void linear(const PackedHeader& packed, const uint8_t* x, int64_t rows, int64_t x_stride, const uint8_t* residual,
            int64_t residual_stride, uint8_t* y, int64_t y_stride, int threads, Span next = {});

}  // namespace fxquant
