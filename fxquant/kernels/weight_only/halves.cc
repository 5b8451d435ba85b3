#include "weight_only/halves.h"

#include <algorithm>
#include <cstring>

#include "base/isa.h"
#include "base/parallel.h"

namespace fxquant {

#if defined(__x86_64__)
extern const HalvesKernel weight_only_avx512bf16;
#endif

namespace {

// From so many rows on, making bfloat16 of weights is less work than it saves.
constexpr int64_t kFewestRows = 6;

// Threads are worth their fork and join from so many multiply-adds each.
constexpr int64_t kThreadWork = 1 << 19;

// What multiplies bfloat16 here, or null.
const HalvesKernel* kernel_for([[maybe_unused]] const WeightOnlyLinear& p) {
#if defined(__x86_64__)
  const bool fits =
      p.packed->isa == static_cast<int32_t>(Isa::avx512vnni) && p.packed->group % 2 == 0 && p.packed->weight_bytes == 1;
  if (fits && p.rows >= kFewestRows && has_avx512bf16()) return &weight_only_avx512bf16;
#endif
  return nullptr;
}

// Rows of x that stay in a cache from one panel to the next, at most.
constexpr int64_t kRowsTogether = 128;

int64_t together(int64_t rows) {
  const int64_t blocks = (rows + kRowsTogether - 1) / kRowsTogether;
  return (rows + blocks - 1) / blocks;
}

int64_t pair_bytes(const HalvesKernel& kernel) { return kHalvesDepth / 2 * 4 * kernel.columns; }

int64_t thread_bytes(const WeightOnlyLinear& p, const HalvesKernel& kernel) {
  return pair_bytes(kernel) + 4 * kernel.columns * together(p.rows);
}

void to_floats(float* to, const uint16_t* from, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t bits = static_cast<uint32_t>(from[i]) << 16;
    std::memcpy(to + i, &bits, 4);
  }
}

// Rounded to the nearest, ties to even; a NaN stays one.
void to_halves(uint16_t* to, const float* from, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    uint32_t bits;
    std::memcpy(&bits, from + i, 4);
    const uint32_t rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
    to[i] = static_cast<uint16_t>((bits & 0x7FFFFFFF) > 0x7F800000 ? 0x7FC0 : rounded);
  }
}

void through_floats(const WeightOnlyLinear& p, uint16_t* y, const uint16_t* x, float* scratch, int threads) {
  const int64_t inputs = p.packed->inputs, outputs = p.packed->outputs;
  float* products = scratch + p.rows * inputs;
  parallel_for(p.rows, worthwhile_threads(p.rows * inputs * 4, threads), [&](int64_t begin, int64_t end) {
    for (int64_t m = begin; m < end; ++m) to_floats(scratch + m * inputs, x + m * p.x_stride, inputs);
  });
  weight_only_linear({p.packed, p.rows, inputs, outputs}, products, scratch, threads);
  parallel_for(p.rows, worthwhile_threads(p.rows * outputs * 4, threads), [&](int64_t begin, int64_t end) {
    for (int64_t m = begin; m < end; ++m) to_halves(y + m * p.y_stride, products + m * outputs, outputs);
  });
}

}  // namespace

int64_t weight_only_halves_scratch(const WeightOnlyLinear& p, int threads) {
  if (const HalvesKernel* kernel = kernel_for(p)) return threads * thread_bytes(p, *kernel);
  return 4 * p.rows * (p.packed->inputs + p.packed->outputs);
}

void weight_only_halves(const WeightOnlyLinear& p, uint16_t* y, const uint16_t* x, uint8_t* scratch, int threads) {
  const HalvesKernel* kernel = kernel_for(p);
  if (!kernel) return through_floats(p, y, x, reinterpret_cast<float*>(scratch), threads);
  const int64_t panels = (p.packed->outputs + kernel->columns - 1) / kernel->columns;
  const int64_t most = 1 + p.rows * p.packed->inputs * p.packed->outputs / kThreadWork;
  const int64_t some = most < threads ? most : threads;
  parallel_for(some, static_cast<int>(some), [&](int64_t first, int64_t last) {
    for (int64_t part = first; part < last; ++part) {
      uint8_t* own = scratch + part * thread_bytes(p, *kernel);
      const HalvesScratch memory = {reinterpret_cast<uint32_t*>(own),
                                    reinterpret_cast<float*>(own + pair_bytes(*kernel))};
      run_share(panels, part, some, [&](int64_t begin, int64_t end) {
        WeightOnlyLinear block = p;
        for (int64_t row = 0; row < p.rows; row += block.rows) {
          block.rows = std::min(together(p.rows), p.rows - row);
          kernel->run(block, y + row * p.y_stride, x + row * p.x_stride, memory, begin, end);
        }
      });
    }
  });
}

}  // namespace fxquant
