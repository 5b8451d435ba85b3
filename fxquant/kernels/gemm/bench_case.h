// What the benchmarks of the product's layers share: packed random layers, their rate beside the machine's peak.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "base/isa.h"
#include "base/timing.h"
#include "gemm/gemm.h"
#include "roofline/roofline.h"

namespace fxquant {

struct BenchLayer {
  LayerWeights layer;
  std::vector<int8_t> weight;
  std::vector<int32_t> bias;
  std::vector<float> multiplier, float_bias;
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
    float_bias.assign(bias.size(), 0.0F);
    layer.float_bias = float_bias.data();
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

inline void print_peak(Isa isa, double peak) {
  std::printf("%s; peak: %.0f G/s; in multiply-adds\n", isa_name(isa), peak * 1e-9);
}

inline void print_rate(double macs, double seconds, double peak) {
  const double rate = macs / seconds;
  std::printf("%9.1f us %7.1f G/s %5.1f %% of peak\n", seconds * 1e6, rate * 1e-9, 100 * rate / peak);
}

// Bytes a second that one thread reads of `count` bytes, cycled through as the weights of a layer are, in `Streams`
// stretches side by side.
template <size_t Streams>
double read_rate(int64_t count) {
  const size_t stretch = static_cast<size_t>(count) / (8 * Streams);
  std::vector<uint64_t> words(stretch * Streams, 3);
  volatile uint64_t sink = 0;
  const double seconds = best_seconds(0.15, [&] {
    uint64_t sum[Streams][8] = {};
    for (size_t i = 0; i + 8 <= stretch; i += 8) {
      for (size_t s = 0; s < Streams; ++s) {
        for (size_t j = 0; j < 8; ++j) sum[s][j] += words[s * stretch + i + j];
      }
    }
    for (const auto& of_stream : sum) {
      for (const uint64_t each : of_stream) sink = sink + each;
    }
  });
  return static_cast<double>(count) / seconds;
}

// The speed of a layer that reads `count` bytes of weights in so many seconds, beside that of the faster of two sums
// over as much memory.
inline void print_read_rate(int64_t count, double seconds) {
  const double rate = static_cast<double>(count) / seconds;
  const double reads = std::max(read_rate<1>(count), read_rate<4>(count));
  std::printf("    %5.1f GB/s of weights; a sum reads %5.1f GB/s: %.0f %%\n", rate * 1e-9, reads * 1e-9,
              100 * rate / reads);
}

}  // namespace fxquant
