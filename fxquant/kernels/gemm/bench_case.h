// What the benchmarks of the product's layers share: the peak of this machine, timing, packed random layers.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "base/isa.h"
#include "gemm/gemm.h"

namespace fxquant {

// The least seconds of one call, over about `budget` seconds of calls.
template <class Call>
double best_seconds(double budget, const Call& call) {
  using Clock = std::chrono::steady_clock;
  const auto seconds = [](Clock::duration d) { return std::chrono::duration<double>(d).count(); };
  call();
  double best = 1e9;
  for (const auto start = Clock::now(); seconds(Clock::now() - start) < budget;) {
    const auto before = Clock::now();
    call();
    best = std::min(best, seconds(Clock::now() - before));
  }
  return best;
}

// Multiply-adds a second, in G, of independent vpdpbusd zmm on one core. Needs AVX512-VNNI.
#if defined(__x86_64__)
inline double peak_avx512vnni() {
  constexpr int kSteps = 20000;
  const double seconds = best_seconds(0.05, [] {
    for (int i = 0; i < kSteps; ++i) {
      asm volatile(
          ".irp acc,2,3,4,5,6,7,8,9,10,11,12,13\n\t"
          "vpdpbusd %%zmm0, %%zmm1, %%zmm\\acc\n\t"
          ".endr"
          :
          :
          : "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13");
    }
  });
  return 12.0 * 64 * kSteps / seconds * 1e-9;
}
#else
inline double peak_avx512vnni() { return 0; }
#endif

struct BenchLayer {
  LayerWeights layer;
  std::vector<int8_t> weight;
  std::vector<int32_t> bias;
  std::vector<float> multiplier;
  uint8_t* packed;

  BenchLayer(LayerWeights description, Isa isa) : layer(description) {
    const int64_t summands = layer.in_channels / layer.groups * layer.kernel_h * layer.kernel_w;
    weight.resize(static_cast<size_t>(summands * layer.out_channels));
    for (auto& w : weight) w = static_cast<int8_t>(std::rand());
    bias.assign(static_cast<size_t>(layer.out_channels), 0);
    multiplier.assign(bias.size(), 1.0F / static_cast<float>(100 * summands));
    layer.weight = weight.data();
    layer.bias = bias.data();
    layer.multiplier = multiplier.data();
    layer.output.zero_point = 100;
    const int64_t size = packed_size(layer, isa);
    packed = static_cast<uint8_t*>(std::aligned_alloc(64, static_cast<size_t>(size + 63) / 64 * 64));
    pack_product(layer, isa, packed);
  }
  BenchLayer(const BenchLayer&) = delete;
  BenchLayer& operator=(const BenchLayer&) = delete;
  ~BenchLayer() { std::free(packed); }
  const PackedHeader& header() const { return *reinterpret_cast<const PackedHeader*>(packed); }
};

inline std::vector<uint8_t> random_bytes(int64_t count) {
  std::vector<uint8_t> bytes(static_cast<size_t>(count));
  for (auto& b : bytes) b = static_cast<uint8_t>(std::rand());
  return bytes;
}

// The ISA that argv[1] names, or the best one; the number of threads in argv[2], or 1.
inline Isa bench_isa(int argc, char** argv) {
  for (int i = 0; argc > 1 && i < kIsaCount; ++i) {
    if (std::strcmp(isa_name(static_cast<Isa>(i)), argv[1]) == 0) return static_cast<Isa>(i);
  }
  return best_isa();
}

inline int bench_threads(int argc, char** argv) { return argc > 2 ? std::atoi(argv[2]) : 1; }

// Of `threads` cores, if the ISA can reach it; 0 if it was not meant to.
inline double bench_peak(Isa isa, int threads) { return isa == Isa::avx512vnni ? threads * peak_avx512vnni() : 0; }

inline void print_peak(Isa isa) {
  std::printf("%s", isa_name(isa));
  if (isa_supported(Isa::avx512vnni)) std::printf("; one core's vpdpbusd zmm: %.0f G/s", peak_avx512vnni());
  std::printf("; in multiply-adds\n");
}

inline void print_rate(double macs, double seconds, double peak) {
  std::printf("%9.1f us %7.1f G/s", seconds * 1e6, macs / seconds * 1e-9);
  if (peak > 0) std::printf(" %5.1f %% of peak", macs / seconds * 1e-7 / peak);
  std::printf("\n");
}

}  // namespace fxquant
