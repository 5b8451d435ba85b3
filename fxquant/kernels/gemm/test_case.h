// What the tests of the product's layers share: random layers and their packed weights.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "base/test.h"
#include "gemm/gemm.h"

namespace fxquant {

constexpr uint8_t kCanary = 0xA5;  // what bytes hold that nothing may write

// A layer and everything it points at.
struct TestLayer {
  LayerWeights layer;
  std::vector<int8_t> weight;
  std::vector<int32_t> bias;
  std::vector<float> multiplier, float_bias;
  std::vector<uint8_t> table;

  TestLayer(int64_t in, int64_t out, Random& random) : TestLayer(in, out, 1, 1, 1, random) {}
  TestLayer(int64_t in, int64_t out, int64_t kernel_h, int64_t kernel_w, int64_t groups, Random& random) {
    layer.in_channels = in;
    layer.out_channels = out;
    layer.kernel_h = kernel_h;
    layer.kernel_w = kernel_w;
    layer.groups = groups;
    const int64_t summands = in / groups * kernel_h * kernel_w;
    weight.resize(static_cast<size_t>(summands * out));
    bias.resize(static_cast<size_t>(out));
    multiplier.resize(static_cast<size_t>(out));
    float_bias.resize(static_cast<size_t>(out));
    table.resize(256);
    for (auto& w : weight) w = static_cast<int8_t>(random.integer(-128, 127));
    for (auto& b : bias) b = static_cast<int32_t>(random.integer(-100000, 100000));
    for (auto& m : multiplier) m = random.real(0.1F, 2.0F) / (300.0F * static_cast<float>(summands));
    for (auto& b : float_bias) b = random.real(-1.0F, 1.0F);
    for (auto& t : table) t = static_cast<uint8_t>(random.integer(0, 255));
    layer.x_zero_point = static_cast<int32_t>(random.integer(0, 3) == 0 ? 255 : random.integer(0, 255));
    layer.output.zero_point = static_cast<int32_t>(random.integer(0, 255));
    layer.output.quant_min = static_cast<int32_t>(random.integer(0, 20));
    layer.output.quant_max = static_cast<int32_t>(random.integer(200, 255));
    // Kernels take outputs of whole bytes, and of these those from 0 on, in ways of their own.
    if (random.integer(0, 1))
      layer.output = {static_cast<int32_t>(random.integer(0, 1) * random.integer(0, 255)), 0, 255};
    layer.residual = {static_cast<int32_t>(random.integer(0, 255)), random.real(0.01F, 2.0F)};
  }
  const LayerWeights& weights() {
    layer.weight = weight.data();
    layer.bias = bias.data();
    layer.multiplier = multiplier.data();
    return layer;
  }
  // The same layer with float outputs, some of them at a bound.
  const LayerWeights& float_weights() {
    weights();
    layer.bias = nullptr;
    layer.gives_floats = true;
    layer.float_bias = float_bias.data();
    layer.float_output = {-1.5F, 1.5F};
    return layer;
  }
};

struct Packed {
  uint8_t* data;
  int64_t size, refused;
  Packed(const LayerWeights& layer, Isa isa) : size(packed_size(layer, isa)) {
    data = static_cast<uint8_t*>(std::aligned_alloc(64, static_cast<size_t>(size + 63) / 64 * 64));
    refused = pack_product(layer, isa, data);
  }
  Packed(const Packed&) = delete;
  Packed& operator=(const Packed&) = delete;
  ~Packed() { std::free(data); }
};

}  // namespace fxquant
