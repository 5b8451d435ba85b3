#include "roofline/roofline.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/kernel_rows.h"
#include "base/parallel.h"
#include "base/timing.h"

namespace fxquant {

#define KERNELS(isa, table) extern const RooflineKernels table;
#include "roofline/kernels.inc"
#undef KERNELS

namespace {

constexpr KernelRow<RooflineKernels> kRows[] = {
#define KERNELS(isa, table) {Isa::isa, &table},
#include "roofline/kernels.inc"
#undef KERNELS
};

}  // namespace

double peak_multiply_adds(Isa isa, int threads) {
  constexpr int64_t kMultiplyAdds = 1 << 26;
  const RooflineKernels& kernels = kernels_of(kRows, isa);
  const int64_t steps = kMultiplyAdds / kernels.step;
  const double seconds = best_seconds(0.2, [&] {
    parallel_for(threads, threads, [&](int64_t begin, int64_t end) { kernels.run((end - begin) * steps); });
  });
  return static_cast<double>(threads * steps * kernels.step) / seconds;
}

double copy_bandwidth(int64_t bytes, int threads) {
  constexpr int64_t kBytes = 1 << 22;  // in one attempt, so that the clock and the threads' start weigh little
  constexpr int64_t kPage = 4096;      // half a page apart, else loads would wait for stores to the same page offset
  const int64_t half = bytes / 2, distance = (half + kPage - 1) / kPage * kPage + kPage / 2;
  std::vector<uint8_t> buffer(static_cast<size_t>(distance + half), 1);
  const uint8_t* from = buffer.data();
  uint8_t* to = buffer.data() + distance;
  const int64_t copies = std::max<int64_t>(1, kBytes / bytes);
  const double seconds = best_seconds(0.05, [&] {
    parallel_for(half, threads, [&](int64_t begin, int64_t end) {
      for (int64_t i = 0; i < copies; ++i) {
        std::memcpy(to + begin, from + begin, static_cast<size_t>(end - begin));
        asm volatile("" : : : "memory");  // each copy is made
      }
    });
  });
  return static_cast<double>(2 * half * copies) / seconds;
}

}  // namespace fxquant
