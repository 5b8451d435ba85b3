#include "gemm/pack.h"

#include <cstring>

#include "base/packed.h"
#include "gemm/reach.h"
#include "winograd/run.h"
#include "winograd/winograd.h"

namespace fxquant {
namespace {

PackedHeader header_of(const LayerWeights& layer, Isa isa) {
  PackedHeader h{};
  h.magic = kPackedMagic;
  h.layer = Layer::conv;
  h.winograd = 1;
  h.isa = isa;
  h.has_residual = layer.has_residual;
  h.has_table = layer.table != nullptr;
  h.x_zero_point = layer.x_zero_point;
  h.output = layer.output;
  h.residual = layer.residual;
  h.bounded = 1;
  h.in_channels = layer.in_channels;
  h.out_channels = layer.out_channels;
  h.kernel_h = h.kernel_w = 3;
  h.groups = h.packed_groups = 1;
  h.group_inputs = h.tap_bytes = layer.in_channels;
  h.group_outputs = layer.out_channels;
  h.taps = kPositions;
  h.size = kHeaderBytes + kTableBytes + winograd_panels(h).group_bytes;
  return h;
}

const int8_t* weights_of(const LayerWeights& layer, int64_t output) {
  return layer.weight + output * layer.in_channels * 9;
}

bool channel_fits(const LayerWeights& layer, int64_t output) {
  constexpr int64_t kLargest = INT32_MAX / 64;
  const int8_t* w = weights_of(layer, output);
  Reach with_bias{layer.bias[output], layer.bias[output]}, sum{0, 0};
  for (int64_t i = 0; i < layer.in_channels * 9; ++i) {
    with_bias.add(w[i], layer.x_zero_point);
    sum.add(w[i], 0);
  }
  const float residual = layer.has_residual ? layer.residual.multiplier : 0.0F;
  return sum.low >= -kLargest && sum.high <= kLargest && with_bias.in_int32() &&
         with_bias.bounded(layer.multiplier[output], residual);
}

// G g G'
void transform_weights(const int8_t* g, int16_t (&u)[kPatch][kPatch]) {
  constexpr int kG[kPatch][3] = {{6, 0, 0}, {-1, -1, -1}, {-1, 1, -1}, {1, 2, 4}, {1, -2, 4}, {0, 0, 6}};
  for (int i = 0; i < kPatch; ++i) {
    int row[3];
    for (int x = 0; x < 3; ++x) row[x] = kG[i][0] * g[x] + kG[i][1] * g[3 + x] + kG[i][2] * g[6 + x];
    for (int j = 0; j < kPatch; ++j) {
      u[i][j] = static_cast<int16_t>(kG[j][0] * row[0] + kG[j][1] * row[1] + kG[j][2] * row[2]);
    }
  }
}

void pack_channel(const LayerWeights& layer, const Panels& panels, int64_t output, uint8_t* all_panels) {
  const int64_t panel = output / panels.layout.columns();
  const int vectors = panels.vectors(panel);
  const int64_t columns = static_cast<int64_t>(panels.layout.lanes) * vectors;
  const int64_t slot = slot_of_column(output % panels.layout.columns(), panels.layout.lanes, vectors);
  uint8_t* base = all_panels + panel * panels.bytes;
  int16_t* words = reinterpret_cast<int16_t*>(base + 8 * columns);
  const int64_t position_words = layer.in_channels * columns;
  const int8_t* w = weights_of(layer, output);
  int64_t sum = 0;
  for (int64_t i = 0; i < layer.in_channels; ++i) {
    int16_t u[kPatch][kPatch];
    transform_weights(w + 9 * i, u);
    int16_t* to = words + (i / 2 * columns + slot) * 2 + i % 2;
    for (int p = 0; p < kPositions; ++p) to[p * position_words] = u[p / kPatch][p % kPatch];
    for (int k = 0; k < 9; ++k) sum += w[9 * i + k];
  }
  reinterpret_cast<int32_t*>(base)[slot] = static_cast<int32_t>(layer.bias[output] - layer.x_zero_point * sum);
  reinterpret_cast<float*>(base + 4 * columns)[slot] = layer.multiplier[output];
}

}  // namespace

bool winograd_fits(const LayerWeights& layer, Isa isa) {
  if (!winograd_supported(isa) || layer.kernel_h != 3 || layer.kernel_w != 3 || layer.groups != 1) return false;
  if (layer.in_channels % (kChunk / 2) != 0) return false;
  for (int64_t c = 0; c < layer.out_channels; ++c) {
    if (!channel_fits(layer, c)) return false;
  }
  return true;
}

int64_t winograd_packed_size(const LayerWeights& layer, Isa isa) { return header_of(layer, isa).size; }

void pack_winograd(const LayerWeights& layer, Isa isa, uint8_t* packed) {
  PackedHeader header = header_of(layer, isa);
  header.checksum = header_checksum(header);
  const Panels panels = winograd_panels(header);
  std::memset(packed, 0, static_cast<size_t>(header.size));
  std::memcpy(packed, &header, sizeof header);
  if (layer.table) std::memcpy(packed + kHeaderBytes, layer.table, kTableBytes);
  for (int64_t c = 0; c < layer.out_channels; ++c) {
    pack_channel(layer, panels, c, packed + kHeaderBytes + kTableBytes);
  }
}

}  // namespace fxquant
