// What benchmarks of memory-near kernels share: the best of many runs, next to a plain copy of as many bytes.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "base/isa.h"
#include "base/strided.h"
#include "base/timing.h"

namespace fxquant {

// Bytes that start on a cache line, as torch's do.
class Aligned {
 public:
  Aligned(size_t bytes, int value) : data_(static_cast<uint8_t*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64))) {
    if (!data_) std::abort();
    std::memset(data_, value, bytes);
  }
  Aligned(const Aligned&) = delete;
  Aligned& operator=(const Aligned&) = delete;
  ~Aligned() { std::free(data_); }
  uint8_t* get() const { return data_; }

 private:
  uint8_t* data_;
};

// N tensors of rows x length elements, each row behind the one before.
template <int N>
Walk<N> dense_rows(int64_t rows, int64_t length) {
  Walk<N> walk;
  walk.rank = 2;
  walk.size[0] = rows;
  walk.size[1] = length;
  for (int t = 0; t < N; ++t) {
    walk.stride[t][0] = length;
    walk.stride[t][1] = 1;
  }
  return walk;
}

// Times `body`, which reads and writes `bytes`, on one thread; prints its rate beside that of memcpy over the same sum.
template <class Body>
void report(const char* what, Isa isa, int64_t bytes, const Body& body) {
  const size_t half = static_cast<size_t>(bytes / 2);
  const Aligned from(half, 1), to(half, 0);
  const double rate = static_cast<double>(bytes) * 1e-9;
  const double copy = best_seconds(0.02, [&] { std::memcpy(to.get(), from.get(), half); }),
               s = best_seconds(0.02, body);
  std::printf("%-36s %-11s %8.1f us %6.1f GB/s of %6.1f\n", what, isa_name(isa), s * 1e6, rate / s, rate / copy);
}

// Calls body(isa) for every ISA of this machine.
template <class Body>
void for_each_isa(const Body& body) {
  for (int i = 0; i < kIsaCount; ++i) {
    if (isa_supported(static_cast<Isa>(i))) body(static_cast<Isa>(i));
  }
}

}  // namespace fxquant
