// Blocks of 16 channels in natural order, a quad of taps at a time; plain loops over a fixed number of channels, which
// any compiler vectorizes.
#include "depthwise/depthwise.h"

namespace fxquant {
namespace {

constexpr int kWidth = 16;

// acc[c] += sum over k of row[k][c] * quad[c][k]
template <int Channels>
void add_quad(const uint8_t* const (&row)[4], const int8_t* quad, int channels, int32_t* acc) {
  const int count = Channels > 0 ? Channels : channels;
  for (int c = 0; c < count; ++c) {
    acc[c] += row[0][c] * quad[4 * c] + row[1][c] * quad[4 * c + 1] + row[2][c] * quad[4 * c + 2] +
              row[3][c] * quad[4 * c + 3];
  }
}

void accumulate(const DepthwiseTask& task, int64_t oy, int64_t ox, int32_t* acc) {
  const DepthwiseGeometry& g = task.layer->geometry;
  const int8_t* quad = reinterpret_cast<const int8_t*>(task.block + 8 * kWidth);
  const int64_t iy = oy * g.stride_h - g.pad_top, ix = ox * g.stride_w - g.pad_left;
  for (int i = 0; i < g.kernel_h; i += 4) {
    for (int j = 0; j < g.kernel_w; ++j, quad += 4 * kWidth) {
      const int64_t x = ix + int64_t{j} * g.dilation_w;
      const uint8_t* row[4];
      for (int k = 0; k < 4; ++k) {
        const int64_t y = iy + int64_t{i + k} * g.dilation_h;
        const bool inside = i + k < g.kernel_h && y >= 0 && y < task.x.h && x >= 0 && x < task.x.w;
        row[k] = inside ? task.x.at(0, y, x) : task.layer->outside;
      }
      if (task.channels == kWidth) {
        add_quad<kWidth>(row, quad, kWidth, acc);
      } else {
        add_quad<0>(row, quad, task.channels, acc);
      }
    }
  }
}

void store(const DepthwiseTask& task, int64_t oy, int64_t ox, const int32_t* acc) {
  const PackedDepthwise& layer = *task.layer;
  const float* multiplier = reinterpret_cast<const float*>(task.block) + kWidth;
  const uint8_t* residual = task.residual.data ? task.residual.at(0, oy, ox) : nullptr;
  uint8_t* y = task.y.at(0, oy, ox);
  for (int c = 0; c < task.channels; ++c) {
    const float term = residual ? residual_term(residual[c], layer.residual) : 0.0F;
    const uint8_t q = requantize(acc[c], multiplier[c], term, layer.output);
    y[c] = layer.has_table ? layer.table[q] : q;
  }
}

}  // namespace

void depthwise_any_scalar(const DepthwiseTask& task) {
  for (int64_t oy = task.row_begin; oy < task.row_end; ++oy) {
    for (int64_t ox = 0; ox < task.y.w; ++ox) {
      int32_t acc[kWidth];
      for (int c = 0; c < kWidth; ++c) acc[c] = reinterpret_cast<const int32_t*>(task.block)[c];
      accumulate(task, oy, ox, acc);
      store(task, oy, ox, acc);
    }
  }
}

}  // namespace fxquant
