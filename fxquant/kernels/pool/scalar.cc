// Plain loops over channels, which any compiler vectorizes, around the positions of a window.
#include "pool/pool.h"

namespace fxquant {
namespace {

constexpr int64_t kWidth = 64;

// Calls pixel(pointer) for each position of the window of the output `ox`, from channel `c` on.
template <class Pixel>
void for_each_position(const PoolTask& task, int64_t ox, int64_t c, const Pixel& pixel) {
  const Window& columns = task.columns[ox];
  for (int64_t iy = task.rows.begin; iy < task.rows.end; iy += task.dilation_h) {
    for (int64_t ix = columns.begin; ix < columns.end; ix += task.dilation_w) pixel(task.x.at(0, iy, ix) + c);
  }
}

// Calls block(ox, c, count) for each output and each part of at most kWidth of its channels.
template <class Block>
void for_each_block(const PoolTask& task, const Block& block) {
  for (int64_t ox = 0; ox < task.width; ++ox) {
    for (int64_t c = 0; c < task.channels; c += kWidth) {
      block(ox, c, task.channels - c < kWidth ? task.channels - c : kWidth);
    }
  }
}

}  // namespace

void pool_max_scalar(const PoolTask& task) {
  for_each_block(task, [&](int64_t ox, int64_t c, int64_t count) {
    uint8_t* y = task.y + ox * task.stride_y + c;
    for (int64_t i = 0; i < count; ++i) y[i] = 0;
    for_each_position(task, ox, c, [&](const uint8_t* x) {
      for (int64_t i = 0; i < count; ++i) y[i] = x[i] > y[i] ? x[i] : y[i];
    });
  });
}

void pool_average_scalar(const PoolTask& task) {
  const AveragePool& pool = *task.average;
  for_each_block(task, [&](int64_t ox, int64_t c, int64_t count) {
    const Window& columns = task.columns[ox];
    const int64_t positions = (task.rows.end - task.rows.begin) * (columns.end - columns.begin);
    int32_t sum[kWidth];
    for (int64_t i = 0; i < kWidth; ++i) sum[i] = 0;
    for_each_position(task, ox, c, [&](const uint8_t* x) {
      for (int64_t i = 0; i < count; ++i) sum[i] += x[i];
    });
    const float multiplier = pool.multiplier / static_cast<float>(task.rows.extent * columns.extent);
    const int32_t offset = static_cast<int32_t>(positions) * pool.x_zero_point;
    uint8_t* y = task.y + ox * task.stride_y + c;
    for (int64_t i = 0; i < count; ++i) y[i] = requantize(sum[i] - offset, multiplier, 0.0F, pool.output);
  });
}

}  // namespace fxquant
