// roofline_bench [threads]: the peak of every ISA of this machine, and the bandwidth of its caches and its memory.
#include "base/bench.h"

#include <cstdlib>

#include "roofline/roofline.h"

using namespace fxquant;

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  for_each_isa([&](Isa isa) {
    std::printf("%-11s %7.1f G multiply-adds/s\n", isa_name(isa), peak_multiply_adds(isa, threads) * 1e-9);
  });
  for (int64_t bytes = 1 << 14; bytes <= 1 << 28; bytes *= 4) {
    std::printf("copy in %8ld KB %6.1f GB/s\n", static_cast<long>(bytes >> 10), copy_bandwidth(bytes, threads) * 1e-9);
  }
}
