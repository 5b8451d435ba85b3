#include "gemm/pack.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/packed.h"
#include "gemm/gemm.h"

namespace fxquant {
namespace {

// Up to a vector of columns, joined groups cost no instruction more than the groups one by one, and save their stores.
int64_t joined_groups(const LayerWeights& layer) {
  constexpr int64_t kJoinedOutputs = 16;
  const int64_t outputs = layer.out_channels / layer.groups;
  int64_t joined = 1;
  for (int64_t d = 2; d <= layer.groups && d * outputs <= kJoinedOutputs; ++d) {
    if (layer.groups % d == 0) joined = d;
  }
  return joined;
}

PackedHeader header_of(const LayerWeights& layer, Isa isa) {
  PackedHeader h{};
  h.magic = kPackedMagic;
  h.layer = layer.layer;
  h.isa = isa;
  h.has_residual = layer.has_residual;
  h.has_table = layer.table != nullptr;
  h.gives_floats = layer.gives_floats;
  h.float_output = layer.float_output;
  h.x_zero_point = layer.x_zero_point;
  h.output = layer.output;
  h.residual = layer.residual;
  h.in_channels = layer.in_channels;
  h.out_channels = layer.out_channels;
  h.kernel_h = layer.kernel_h;
  h.kernel_w = layer.kernel_w;
  h.groups = layer.groups;
  h.packed_groups = layer.groups / joined_groups(layer);
  h.group_inputs = layer.in_channels / h.packed_groups;
  h.group_outputs = layer.out_channels / h.packed_groups;
  h.bounded = 1;
  const bool broken_steps = layer.in_channels % panel_layout(isa).step() != 0;
  h.merged_row = layer.dense_w && layer.kernel_w > 1 && broken_steps && h.packed_groups == 1;
  h.taps = h.merged_row ? layer.kernel_h : layer.kernel_h * layer.kernel_w;
  h.tap_bytes = h.merged_row ? layer.kernel_w * layer.in_channels : h.group_inputs;
  const int64_t inputs = layer.in_channels / layer.groups;
  const bool fills = h.group_inputs == kSpreadInputs && h.group_outputs == kSpreadInputs;
  h.spread = isa == Isa::avx512vnni && h.packed_groups < layer.groups && fills && inputs % 4 == 0
                 ? static_cast<int32_t>(inputs)
                 : 0;
  h.size = kHeaderBytes + kTableBytes + h.packed_groups * panels_of(h).group_bytes;
  return h;
}

// Writes one output channel: a column of a panel.
class Column {
 public:
  Column(const PackedHeader& header, const Panels& panels, int64_t channel, uint8_t* group_panels) : h_(header) {
    const int64_t column = channel % h_.group_outputs, panel = column / panels.layout.columns();
    const int vectors = panels.vectors(panel);
    columns_ = static_cast<int64_t>(panels.layout.lanes) * vectors;
    layout_ = panels.layout;
    slot_ = slot_of_column(column % panels.layout.columns(), layout_.lanes,
                           vectors == 1 || panels.half(panel) || h_.gives_floats);
    step_bytes_ = layout_.step_bytes(vectors);
    uint8_t* base = group_panels + panel * panels.bytes;
    bias_ = reinterpret_cast<int32_t*>(base) + slot_;
    multiplier_ = reinterpret_cast<float*>(base + 4 * columns_) + slot_;
    float_bias_ = h_.gives_floats ? reinterpret_cast<float*>(base + 8 * columns_) + slot_ : nullptr;
    weights_ = base + epilogue_bytes(h_.gives_floats) * columns_;
  }

  // `input` counts from the first channel of the packed group.
  void weight(int64_t input, int64_t ky, int64_t kx, int8_t value) {
    const int64_t tap = h_.merged_row ? ky : ky * h_.kernel_w + kx;
    const int64_t k = h_.merged_row ? kx * h_.in_channels + input : h_.spread > 0 ? input % h_.spread : input;
    const int64_t step_k = layout_.step();
    uint8_t* step = weights_ + (tap * steps_of_tap(h_) + k / step_k) * step_bytes_;
    const int64_t lanes = layout_.lanes, vector = slot_ / lanes, lane = slot_ % lanes, j = k % step_k;
    const int16_t word = value;
    switch (layout_.weights) {
      case WeightLayout::bytes:
      case WeightLayout::octets:
        step[step_k * slot_ + j] = static_cast<uint8_t>(value);
        break;
      case WeightLayout::planes:
        step[j * columns_ + slot_] = static_cast<uint8_t>(value);
        break;
      case WeightLayout::words:
        std::memcpy(step + ((vector * 2 + j % 2) * lanes + lane) * 4 + j / 2 * 2, &word, 2);
        break;
    }
  }
  void epilogue(int32_t bias, float multiplier) {
    *bias_ = bias;
    *multiplier_ = multiplier;
  }
  void float_bias(float bias) { *float_bias_ = bias; }

 private:
  const PackedHeader& h_;
  PanelLayout layout_;
  int64_t columns_, slot_, step_bytes_;
  int32_t* bias_;
  float *multiplier_, *float_bias_;
  uint8_t* weights_;
};

// What the accumulator of a channel can reach over all inputs 0..255.
struct Reach {
  int64_t bias, zero_point;
  int64_t positive = 0, negative = 0;  // sums of weights

  void add(int64_t weight) { (weight > 0 ? positive : negative) += weight; }
  int64_t weights() const { return positive + negative; }
  int64_t low() const { return bias - zero_point * weights() + 255 * negative; }
  int64_t high() const { return bias - zero_point * weights() + 255 * positive; }
  int64_t largest_sum() const { return 255 * std::max(positive, -negative); }
  bool in_int32() const { return low() >= INT32_MIN && high() <= INT32_MAX; }
  // The same for all zero points.
  bool always_in_int32() const { return 255 * (positive - negative) <= INT32_MAX; }
  // Whether what is rounded stays well inside int32; false for a NaN.
  bool bounded(float multiplier, float residual) const {
    const double largest = static_cast<double>(std::max(high(), -low()));
    return largest * std::fabs(multiplier) + 255.0 * std::fabs(residual) < 1 << 30;
  }
};

Reach pack_channel(const LayerWeights& layer, const PackedHeader& h, const Panels& panels, int64_t channel,
                   uint8_t* group_panels) {
  Column column(h, panels, channel, group_panels);
  const int64_t inputs = layer.in_channels / layer.groups, outputs = layer.out_channels / layer.groups;
  const int64_t first_input = channel % h.group_outputs / outputs * inputs;
  const int8_t* w = layer.weight + channel * inputs * layer.kernel_h * layer.kernel_w;
  const int64_t bias = layer.bias ? layer.bias[channel] : 0;
  Reach reach{bias, layer.x_zero_point};
  for (int64_t i = 0; i < inputs; ++i) {
    for (int64_t ky = 0; ky < layer.kernel_h; ++ky) {
      for (int64_t kx = 0; kx < layer.kernel_w; ++kx, ++w) {
        column.weight(first_input + i, ky, kx, *w);
        reach.add(*w);
      }
    }
  }
  // The folded bias is the accumulator of an input that is activation_offset everywhere, and a partial sum that of an
  // input that is so from there on: both lie within `reach`, so neither leaves int32 if that does not.
  const int64_t folded = bias - (layer.x_zero_point - activation_offset(h.isa)) * reach.weights();
  column.epilogue(static_cast<int32_t>(is_dynamic(h.layer) ? reach.weights() : folded), layer.multiplier[channel]);
  if (layer.gives_floats) column.float_bias(layer.float_bias[channel]);
  return reach;
}

}  // namespace

int64_t packed_size(const LayerWeights& layer, Isa isa) { return header_of(layer, isa).size; }

int64_t pack_product(const LayerWeights& layer, Isa isa, uint8_t* packed) {
  PackedHeader header = header_of(layer, isa);
  const Panels panels = panels_of(header);
  std::memset(packed, 0, static_cast<size_t>(header.size));
  if (layer.table) std::memcpy(packed + kHeaderBytes, layer.table, kTableBytes);
  for (int64_t c = 0; c < layer.out_channels; ++c) {
    uint8_t* group_panels = packed + kHeaderBytes + kTableBytes + c / header.group_outputs * panels.group_bytes;
    const Reach reach = pack_channel(layer, header, panels, c, group_panels);
    if (!(is_dynamic(layer.layer) ? reach.always_in_int32() : reach.in_int32())) return c;
    header.largest_sum = std::max(header.largest_sum, reach.largest_sum());
    const float residual = layer.has_residual ? layer.residual.multiplier : 0.0F;
    if (!layer.gives_floats && !reach.bounded(layer.multiplier[c], residual)) header.bounded = 0;
  }
  std::memcpy(packed, &header, sizeof header);
  PackedHeader& written = *reinterpret_cast<PackedHeader*>(packed);
  written.checksum = header_checksum(written);
  return -1;
}

}  // namespace fxquant
