// The limits of this machine, which every benchmark stands beside:
//   multiply-adds a second   the inner product of an ISA's kernels, from registers, without a load or a store
//   bytes a second           a copy of as many bytes as asked for, so from the cache that holds them
#pragma once
#include <cstdint>

#include "base/isa.h"

namespace fxquant {

struct RooflineKernels {
  // Multiply-adds of one step: independent inner products, as many as hide the latency of one.
  int64_t step;
  void (*run)(int64_t steps);
};

// Multiply-adds of int8 a second of `threads` cores at once, the best of several attempts in about 200 ms.
double peak_multiply_adds(Isa isa, int threads);

// Bytes read and written a second by memcpy, where both buffers together have `bytes` bytes and each thread copies
// its part; the best of several attempts in about 50 ms.
double copy_bandwidth(int64_t bytes, int threads);

}  // namespace fxquant
