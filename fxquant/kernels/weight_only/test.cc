#include "base/test.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "weight_only/halves.h"
#include "weight_only/reference.h"

namespace fxquant {
namespace {

struct Shape {
  int64_t rows, inputs, outputs, group;
};

// Of any sign and magnitude, denormals among them.
uint16_t random_half(Random& random) {
  return static_cast<uint16_t>(random.integer(0, 1) << 15 | random.integer(0, 16) << 10 | random.integer(0, 1023));
}

// Random weights, which end at guard pages.
struct Layer {
  Guarded<int8_t> weight;
  Guarded<uint16_t> halves;
  Guarded<float> scale, bias;
  WeightOnlyWeights w;

  Layer(Random& random, const Shape& s, FloatOutput output, bool of_halves = false)
      : weight(static_cast<size_t>(s.inputs * s.outputs)),
        halves(weight.size()),
        scale(static_cast<size_t>(s.outputs * (s.inputs / s.group))),
        bias(static_cast<size_t>(s.outputs)) {
    for (size_t i = 0; i < weight.size(); ++i) weight[i] = static_cast<int8_t>(random.integer(-128, 127));
    for (size_t i = 0; i < halves.size(); ++i) halves[i] = random_half(random);
    for (size_t i = 0; i < scale.size(); ++i) scale[i] = random.real(1e-4F, 1e-2F);
    for (size_t i = 0; i < bias.size(); ++i) bias[i] = random.real(-5.0F, 5.0F);
    w = {s.inputs, s.outputs, s.group, weight.data(), scale.data(), bias.data(), output};
    if (of_halves) {
      w.halves = halves.data();
      w.weight_bytes = 2;
    }
  }
};

// Weights packed for `isa`.
struct PackedWeights {
  std::vector<uint8_t> memory;
  const WeightOnlyHeader* header;

  PackedWeights(const WeightOnlyWeights& w, Isa isa) {
    const int64_t size = weight_only_size(w, isa);
    memory.resize(static_cast<size_t>(size) + 64);
    uint8_t* packed = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64;
    pack_weight_only(w, isa, packed);
    header = &weight_only_header(packed, size, isa);
  }
};

testing::Message describe(Isa isa, const Shape& s) {
  return testing::Message() << isa_name(isa) << " M=" << s.rows << " K=" << s.inputs << " N=" << s.outputs
                            << " group=" << s.group << " seed " << test_seed();
}

// All ends at guard pages, with gaps between rows, of which those of y are compared too.
void check(Random& random, const Shape& s, FloatOutput output = {}, bool of_halves = false) {
  const int64_t gap = random.integer(0, 3);
  const Layer layer(random, s, output, of_halves);
  const WeightOnlyWeights& w = layer.w;
  WeightOnlyLinear p = {nullptr, s.rows, s.inputs + gap, s.outputs + gap};
  Guarded<float> x(static_cast<size_t>((s.rows - 1) * p.x_stride + s.inputs));
  for (size_t i = 0; i < x.size(); ++i) x[i] = random.real(-1.0F, 1.0F) * (i % 97 == 5 ? 1e4F : 1.0F);
  if (random.integer(0, 4) == 0) x[x.size() / 2] = std::nanf("");
  Guarded<float> expected(static_cast<size_t>((s.rows - 1) * p.y_stride + s.outputs)), y(expected.size());
  expected.fill(12345.0F);
  reference_weight_only(w, p, expected.data(), x.data());
  for (const Isa isa : supported_isas()) {
    SCOPED_TRACE(describe(isa, s));
    const PackedWeights packed(w, isa);
    p.packed = packed.header;
    for (const int threads : {1, 2}) {
      y.fill(12345.0F);
      weight_only_linear(p, y.data(), x.data(), threads);
      for (size_t i = 0; i < y.size(); ++i) {
        if (std::isnan(expected[i]) && std::isnan(y[i])) continue;
        ASSERT_EQ(std::memcmp(&y[i], &expected[i], sizeof(float)), 0) << y[i] << " for " << expected[i] << " at " << i;
      }
    }
  }
}

TEST(WeightOnly, EveryNumberOfRows) {
  Random random(1);
  for (int64_t rows = 1; rows <= 45; ++rows) check(random, {rows, 24, 70, rows % 2 ? 24 : 8});
}

TEST(WeightOnly, EveryNumberOfOutputs) {
  Random random(2);
  for (int64_t outputs = 1; outputs <= 140; ++outputs) check(random, {outputs % 5 + 1, 12, outputs, 4});
}

TEST(WeightOnly, RandomShapesAndBounds) {
  for (int i = 0; i < 100; ++i) {
    Random random(static_cast<uint32_t>(100 + i));
    const int64_t group = random.integer(1, 60);
    check(random, {random.integer(1, 100), group * random.integer(1, 6), random.integer(1, 100), group},
          {random.real(-9.0F, 0.0F), random.real(0.0F, 9.0F)});
    if (HasFatalFailure()) return;
  }
}

TEST(WeightOnly, Large) {
  Random random(3);
  check(random, {300, 512, 200, 128});
  check(random, {1, 4096, 300, 4096});
  check(random, {2, 2048, 600, 64});
}

TEST(WeightOnly, WeightsOfFloat16) {
  Random random(8);
  for (int64_t rows = 1; rows <= 45; ++rows) check(random, {rows, 24, 70, 24}, {}, true);
  for (int64_t outputs = 1; outputs <= 140; ++outputs) check(random, {outputs % 5 + 1, 12, outputs, 4}, {}, true);
  check(random, {300, 512, 200, 512}, {-20.0F, 30.0F}, true);
}

// Every one of them, as the weight of one input that is 1.
TEST(WeightOnly, EveryFloat16) {
  std::vector<uint16_t> halves(1 << 16);
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<uint16_t>(i);
  const std::vector<float> scale(halves.size(), 1.0F), bias(halves.size(), 0.0F);
  const auto count = static_cast<int64_t>(halves.size());
  const WeightOnlyWeights w = {1, count, 1, nullptr, scale.data(), bias.data(), {}, halves.data(), 2};
  for (const Isa isa : supported_isas()) {
    const PackedWeights packed(w, isa);
    const float x = 1.0F;
    std::vector<float> y(halves.size());
    weight_only_linear({packed.header, 1, 1, count}, y.data(), &x, 1);
    for (size_t i = 0; i < y.size(); ++i) {
      const float value = float_of_half(halves[i]);
      ASSERT_TRUE(std::isnan(value) ? std::isnan(y[i]) : y[i] == value) << isa_name(isa) << " " << i;
    }
  }
  EXPECT_EQ(float_of_half(0x3555), 0.333251953125F);
  EXPECT_EQ(float_of_half(0x8001), -0x1p-24F);
  EXPECT_EQ(float_of_half(0x7BFF), 65504.0F);
  EXPECT_TRUE(std::isinf(float_of_half(0xFC00)));
}

float value_of(uint16_t half) {
  const uint32_t bits = static_cast<uint32_t>(half) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

// Every output within what halves.h promises, on every ISA.
void check_halves(Random& random, const Shape& s, FloatOutput output = {}) {
  const int64_t gap = random.integer(0, 3);
  const Layer layer(random, s, output);
  const WeightOnlyWeights& w = layer.w;
  WeightOnlyLinear p = {nullptr, s.rows, s.inputs + gap, s.outputs + gap};
  Guarded<uint16_t> x(static_cast<size_t>((s.rows - 1) * p.x_stride + s.inputs));
  Guarded<uint16_t> y(static_cast<size_t>((s.rows - 1) * p.y_stride + s.outputs));
  for (size_t i = 0; i < x.size(); ++i) {  // signs and exponents of 2^-7 to 2^8
    x[i] = static_cast<uint16_t>((random.integer(0, 1) << 15) + ((120 + random.integer(0, 15)) << 7) +
                                 random.integer(0, 127));
  }
  for (const Isa isa : supported_isas()) {
    SCOPED_TRACE(describe(isa, s));
    const PackedWeights packed(w, isa);
    p.packed = packed.header;
    for (const int threads : {1, 2}) {
      Guarded<uint8_t> scratch(static_cast<size_t>(weight_only_halves_scratch(p, threads)));
      y.fill(0x7FFF);
      weight_only_halves(p, y.data(), x.data(), scratch.data(), threads);
      for (int64_t m = 0; m < s.rows; ++m) {
        for (int64_t n = 0; n < s.outputs; ++n) {
          double total = w.bias[n], size_of_sums = std::fabs(total);
          for (int64_t k = 0; k < s.inputs; ++k) {
            const double product = static_cast<double>(value_of(x[static_cast<size_t>(m * p.x_stride + k)])) *
                                   w.weight[n * s.inputs + k] * w.scale[n * (s.inputs / s.group) + k / s.group];
            total += product;
            size_of_sums += std::fabs(product);
          }
          const double exact = std::min<double>(std::max<double>(total, output.low), output.high);
          const double found = value_of(y[static_cast<size_t>(m * p.y_stride + n)]);
          const double allowed = static_cast<double>(s.inputs + 2) * 0x1p-24 * size_of_sums + 0x1p-8 * std::fabs(exact);
          ASSERT_NEAR(found, exact, allowed * 1.01) << m << " " << n;
        }
        for (int64_t n = s.outputs; n < p.y_stride && m < s.rows - 1; ++n) {
          ASSERT_EQ(y[static_cast<size_t>(m * p.y_stride + n)], 0x7FFF) << "between rows";
        }
      }
    }
  }
}

TEST(WeightOnlyHalves, EveryNumberOfRows) {
  Random random(4);
  for (int64_t rows = 1; rows <= 45; ++rows) check_halves(random, {rows, 24, 70, rows % 2 ? 24 : rows % 4 ? 8 : 3});
  for (const int64_t rows : {127, 128, 129, 300}) check_halves(random, {rows, 16, 33, 16});
}

TEST(WeightOnlyHalves, EveryNumberOfOutputs) {
  Random random(5);
  for (int64_t outputs = 1; outputs <= 100; ++outputs) check_halves(random, {outputs % 5 + 5, 12, outputs, 4});
}

TEST(WeightOnlyHalves, LongReductionsAndBounds) {
  Random random(6);
  for (const int64_t group : {2 * kHalvesDepth + 6, kHalvesDepth + 2, kHalvesDepth, int64_t{96}}) {
    check_halves(random, {9, 2 * group, 40, group}, {-20.0F, 30.0F});
  }
}

TEST(WeightOnlyHalves, NaNStaysInItsRow) {
  Random random(7);
  std::vector<int8_t> weight(40 * 8, 1);
  const std::vector<float> scale(40, 1.0F), bias(40, 0.0F);
  const WeightOnlyWeights w = {8, 40, 8, weight.data(), scale.data(), bias.data(), {-1.0F, 1.0F}};
  for (const Isa isa : supported_isas()) {
    for (const int64_t rows : {2, 20}) {
      std::vector<uint16_t> x(static_cast<size_t>(rows * 8), 0x3F80), y(static_cast<size_t>(rows * 40));
      x[8 + 3] = 0x7FC0;
      const PackedWeights packed(w, isa);
      const WeightOnlyLinear p = {packed.header, rows, 8, 40};
      Guarded<uint8_t> scratch(static_cast<size_t>(weight_only_halves_scratch(p, 1)));
      weight_only_halves(p, y.data(), x.data(), scratch.data(), 1);
      for (size_t i = 0; i < y.size(); ++i) ASSERT_EQ(std::isnan(value_of(y[i])), i / 40 == 1) << isa_name(isa);
    }
  }
}

TEST(WeightOnly, OtherBytesAreRefused) {
  std::vector<uint8_t> memory(128, 7);
  EXPECT_THROW(weight_only_header(memory.data(), 128, Isa::scalar), std::invalid_argument);
}

}  // namespace
}  // namespace fxquant
