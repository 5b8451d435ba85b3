#include "pool/pool.h"

#include "base/parallel.h"

namespace fxquant {

#define FXQUANT_POOL_KERNEL(isa, op, kernel) void pool_##kernel(const PoolTask& task);
#include "pool/kernels.inc"
#undef FXQUANT_POOL_KERNEL

namespace {

constexpr PoolKernelRow kKernels[] = {
#define FXQUANT_POOL_KERNEL(isa, op, kernel) {PoolOp::op, Isa::isa, pool_##kernel},
#include "pool/kernels.inc"
#undef FXQUANT_POOL_KERNEL
};

PoolKernel kernel_of(PoolOp op, Isa isa) {
  const PoolKernelRow* row = kKernels;
  while (row->op != op || row->isa != isa) ++row;
  return row->run;
}

// Where there are too few rows of outputs for the threads, channels are split too, at multiples of a cache line.
constexpr int64_t kChannelStep = 64;

// Calls the kernel for every row of outputs. `task` has what all of them share.
void run(PoolTask task, PoolKernel kernel, const Nhwc<const uint8_t>& x, const Nhwc<uint8_t>& y, const Window* rows,
         int threads) {
  const int64_t lines = (y.c + kChannelStep - 1) / kChannelStep;
  const int64_t row_count = y.n * y.h;
  const int64_t wanted = row_count < 4 * threads ? threads : 1;
  const int64_t parts = wanted < lines ? wanted : lines;
  parallel_for(row_count * parts, threads, [&](int64_t begin, int64_t end) {
    PoolTask part = task;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / parts / y.h, oy = i / parts % y.h;
      const int64_t first = lines * (i % parts) / parts * kChannelStep;
      const int64_t last = lines * (i % parts + 1) / parts * kChannelStep;
      part.x.data = x.at(n, 0, 0) + first;
      part.y = y.at(n, oy, 0) + first;
      part.channels = (last < y.c ? last : y.c) - first;
      part.rows = rows[oy];
      kernel(part);
    }
  });
}

PoolTask shared_task(const Nhwc<const uint8_t>& x, const Nhwc<uint8_t>& y, const Window* columns) {
  PoolTask task{};
  task.x = x;
  task.width = y.w;
  task.stride_y = y.stride_w;
  task.columns = columns;
  task.dilation_h = task.dilation_w = 1;
  return task;
}

}  // namespace

void pool_windows(const PoolAxis& axis, int64_t size, int64_t outputs, bool include_padding, Window* windows) {
  for (int64_t o = 0; o < outputs; ++o) {
    int64_t begin = o * axis.stride - axis.padding;
    const int64_t end = begin + (axis.kernel - 1) * axis.dilation + 1;
    const int64_t padded_end = end < size + axis.padding ? end : size + axis.padding;
    const int64_t padded_begin = begin;
    while (begin < 0) begin += axis.dilation;
    windows[o].begin = begin;
    windows[o].end = end < size ? end : size;
    windows[o].extent = include_padding ? padded_end - padded_begin : windows[o].end - begin;
  }
}

void adaptive_windows(int64_t size, int64_t outputs, Window* windows) {
  for (int64_t o = 0; o < outputs; ++o) {
    const int64_t begin = o * size / outputs, end = ((o + 1) * size + outputs - 1) / outputs;
    windows[o] = {begin, end, end - begin};
  }
}

void max_pool2d(const Nhwc<const uint8_t>& x, const Nhwc<uint8_t>& y, const Window* rows, const Window* columns,
                int64_t dilation_h, int64_t dilation_w, Isa isa, int threads) {
  PoolTask task = shared_task(x, y, columns);
  task.dilation_h = dilation_h;
  task.dilation_w = dilation_w;
  run(task, kernel_of(PoolOp::max, isa), x, y, rows, threads);
}

void avg_pool2d(const Nhwc<const uint8_t>& x, const Nhwc<uint8_t>& y, const Window* rows, const Window* columns,
                const AveragePool& pool, Isa isa, int threads) {
  PoolTask task = shared_task(x, y, columns);
  task.average = &pool;
  run(task, kernel_of(PoolOp::average, isa), x, y, rows, threads);
}

}  // namespace fxquant
