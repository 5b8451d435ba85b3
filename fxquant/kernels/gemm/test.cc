#include "base/test.h"

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "gemm/gemm.h"
#include "gemm/reference.h"
#include "gemm/test_case.h"

namespace fxquant {
namespace {

// Of every ISA: that it writes `expected` to `y`, whose rows and those of `residual` are `y_stride` bytes apart.
void expect_written(const LayerWeights& layer, const uint8_t* x, int64_t rows, int64_t x_stride,
                    const uint8_t* residual, Guarded<uint8_t>& y, int64_t y_stride,
                    const std::vector<uint8_t>& expected, int threads) {
  for (const Isa isa : supported_isas()) {
    SCOPED_TRACE(std::string(isa_name(isa)) + " M=" + std::to_string(rows) +
                 " N=" + std::to_string(layer.out_channels) + " K=" + std::to_string(layer.in_channels) + " strides=" +
                 std::to_string(x_stride) + "," + std::to_string(y_stride) + " seed=" + std::to_string(test_seed()));
    const Packed packed(layer, isa);
    ASSERT_EQ(packed.refused, -1);
    y.fill(kCanary);
    linear(packed_header(packed.data, packed.size, Layer::linear, isa), x, rows, x_stride, residual, y_stride, y.data(),
           y_stride, threads);
    for (size_t i = 0; i < y.size(); ++i) ASSERT_EQ(int{y[i]}, int{expected[i]}) << "at byte " << i;
  }
}

// Input, residual and output all end at a guard page; what lies between rows must stay as it is.
void expect_reference(TestLayer& c, int64_t rows, int64_t gap, bool residual, bool table, int threads, Random& random,
                      int fixed_input = -1) {
  LayerWeights layer = c.weights();
  layer.has_residual = residual;
  layer.table = table ? c.table.data() : nullptr;
  const int64_t k = layer.in_channels, n = layer.out_channels, x_stride = k + gap, y_stride = n + gap;
  Guarded<uint8_t> x(static_cast<size_t>((rows - 1) * x_stride + k)), r(static_cast<size_t>((rows - 1) * y_stride + n));
  Guarded<uint8_t> y(r.size());
  for (size_t i = 0; i < x.size(); ++i)
    x[i] = static_cast<uint8_t>(fixed_input < 0 ? random.integer(0, 255) : fixed_input);
  for (size_t i = 0; i < r.size(); ++i) r[i] = static_cast<uint8_t>(random.integer(0, 255));
  std::vector<uint8_t> expected(y.size(), kCanary);
  reference_linear(layer, x.data(), rows, x_stride, residual ? r.data() : nullptr, expected.data(), y_stride);
  expect_written(layer, x.data(), rows, x_stride, residual ? r.data() : nullptr, y, y_stride, expected, threads);
}

// Rows of floats at a distance, the last one up to a guard page.
void expect_float_reference(TestLayer& c, int64_t rows, int64_t gap, int threads, Random& random) {
  const LayerWeights& layer = c.float_weights();
  const int64_t k = layer.in_channels, n = layer.out_channels, stride = 4 * (n + gap);
  Guarded<uint8_t> x(static_cast<size_t>(rows * k)), y(static_cast<size_t>((rows - 1) * stride + 4 * n));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<uint8_t>(random.integer(0, 255));
  std::vector<uint8_t> expected(y.size(), kCanary);
  reference_linear(layer, x.data(), rows, k, nullptr, expected.data(), stride);
  expect_written(layer, x.data(), rows, k, nullptr, y, stride, expected, threads);
}

TEST(Linear, EveryRemainderOfRows) {
  Random random(1);
  for (int64_t rows = 1; rows <= 44; ++rows) {
    TestLayer c(24, 40, random);
    expect_reference(c, rows, rows % 3, rows % 2 == 0, rows % 5 == 0, 1, random);
  }
}

TEST(Linear, EveryRemainderOfColumns) {
  Random random(2);
  for (int64_t n = 1; n <= 100; ++n) {
    TestLayer c(12, n, random);
    expect_reference(c, 9, n % 2, n % 3 == 0, n % 4 == 0, 1, random);
  }
}

TEST(Linear, EveryRemainderOfK) {
  Random random(3);
  for (int64_t k = 1; k <= 70; ++k) {
    TestLayer c(k, 33, random);
    expect_reference(c, 17, 0, k % 2 == 0, false, 1, random);
  }
}

TEST(Linear, RandomShapesAndThreads) {
  Random random(4);
  for (int i = 0; i < 60; ++i) {
    TestLayer c(random.integer(1, 300), random.integer(1, 300), random);
    expect_reference(c, random.integer(1, 60), random.integer(0, 70), random.integer(0, 1), random.integer(0, 1),
                     static_cast<int>(random.integer(1, 2)), random);
  }
}

TEST(Linear, ThreadsSplitRowsOrPanels) {
  Random random(5);
  TestLayer tall(64, 70, random), wide(512, 640, random);
  expect_reference(tall, 1001, 0, true, false, 2, random);
  expect_reference(wide, 13, 0, true, false, 2, random);
}

TEST(Linear, FewRowsTimesSeveralPanelsAtOnce) {
  Random random(16);
  for (int i = 0; i < 60; ++i) {
    const int64_t n = random.integer(1, 40) * 16 + (i % 3 == 0 ? random.integer(0, 15) : 0);
    TestLayer c(random.integer(1, 200), n, random);
    const int64_t rows = 1 + i % 4, gap = random.integer(0, 1) * 16;
    expect_reference(c, rows, gap, random.integer(0, 1), random.integer(0, 1), 1 + i % 2, random);
    expect_float_reference(c, rows, gap, 1 + i % 2, random);
  }
}

TEST(Linear, WeightsBeyondTheCacheBlock) {
  Random random(6);
  TestLayer c(600, 200, random);
  expect_reference(c, 31, 0, true, true, 1, random);
}

TEST(Linear, ExtremeValues) {
  Random random(7);
  for (const int weight : {-128, 127}) {
    for (const int input : {0, 255}) {
      for (const int zero_point : {0, 255}) {
        TestLayer c(1024, 48, random);
        for (auto& w : c.weight) w = static_cast<int8_t>(weight);
        c.layer.x_zero_point = zero_point;
        expect_reference(c, 15, 0, false, false, 1, random, input);
      }
    }
  }
}

TEST(Linear, AccumulatorAtTheEndsOfInt32) {
  Random random(8);
  TestLayer c(4, 32, random);
  for (size_t i = 0; i < c.bias.size(); ++i) {
    c.bias[i] = i % 2 ? std::numeric_limits<int32_t>::max() - 255 * 127 * 4
                      : std::numeric_limits<int32_t>::min() + 255 * 128 * 4;
    c.multiplier[i] = i % 4 < 2 ? 1e-7F : 1.0F;
  }
  c.layer.x_zero_point = 0;
  expect_reference(c, 15, 0, true, false, 1, random);
}

TEST(Linear, MultipliersThatOverflowInt32) {
  Random random(9);
  TestLayer c(64, 48, random);
  const float values[] = {1e6F, 1e30F, std::numeric_limits<float>::infinity(), 0.0F, 1e-30F, std::nanf("")};
  for (size_t i = 0; i < c.multiplier.size(); ++i) c.multiplier[i] = values[i % 6];
  expect_reference(c, 15, 0, true, false, 1, random);
}

TEST(Linear, TiesRoundToEven) {
  Random random(10);
  for (const int zero_point : {0, 1, 128, 255}) {
    TestLayer c(1, 48, random);
    for (auto& w : c.weight) w = 1;
    for (size_t i = 0; i < c.multiplier.size(); ++i) {
      c.bias[i] = static_cast<int32_t>(i) - 24;
      c.multiplier[i] = 0.5F;
    }
    c.layer.x_zero_point = 128;
    c.layer.output = {zero_point, 0, 255};
    c.layer.residual = {100, 0.5F};
    expect_reference(c, 300, 0, true, false, 1, random);
  }
}

TEST(Linear, WritesFloats) {
  Random random(14);
  for (int64_t n = 1; n <= 70; ++n) {
    TestLayer c(1 + n % 9, n, random);
    for (auto& m : c.multiplier) m *= 100.0F;
    expect_float_reference(c, 1 + n % 16, n % 3, 1, random);
  }
  TestLayer wide(64, 640, random);
  expect_float_reference(wide, 29, 0, 2, random);
}

TEST(Linear, WritesFloatsBeyondInt32AndNaN) {
  Random random(15);
  TestLayer c(9, 48, random);
  const float values[] = {1e6F, 1e30F, std::numeric_limits<float>::infinity(), 0.0F, 1e-30F};
  for (size_t i = 0; i < c.multiplier.size(); ++i) c.multiplier[i] = values[i % 5];
  for (size_t i = 0; i < c.float_bias.size(); i += 7) c.float_bias[i] = std::nanf("");
  expect_float_reference(c, 15, 0, 1, random);
}

TEST(Linear, MayOverwriteItsResidual) {
  Random random(11);
  TestLayer c(32, 75, random);
  c.layer.has_residual = true;
  const LayerWeights& layer = c.weights();
  const int64_t rows = 20;
  std::vector<uint8_t> x(static_cast<size_t>(rows * 32)), r(static_cast<size_t>(rows * 75)), expected(r.size());
  for (auto& v : x) v = static_cast<uint8_t>(random.integer(0, 255));
  for (auto& v : r) v = static_cast<uint8_t>(random.integer(0, 255));
  reference_linear(layer, x.data(), rows, 32, r.data(), expected.data(), 75);
  for (const Isa isa : supported_isas()) {
    const Packed packed(layer, isa);
    std::vector<uint8_t> y = r;
    linear(packed_header(packed.data, packed.size, Layer::linear, isa), x.data(), rows, 32, y.data(), 75, y.data(), 75,
           1);
    EXPECT_EQ(y, expected) << isa_name(isa);
  }
}

TEST(Pack, RefusesAnAccumulatorBeyondInt32) {
  Random random(12);
  TestLayer c(70000, 3, random);
  for (auto& w : c.weight) w = 0;
  for (size_t k = 0; k < 70000; ++k) c.weight[2 * 70000 + k] = -128;
  c.layer.x_zero_point = 0;
  EXPECT_EQ(Packed(c.weights(), Isa::scalar).refused, 2);
  c.layer.x_zero_point = 128;  // now x - 128 spans both signs, and each half fits
  EXPECT_EQ(Packed(c.weights(), Isa::scalar).refused, -1);
}

TEST(Pack, HeaderRefusesOtherWeights) {
  Random random(13);
  TestLayer c(8, 8, random);
  const Packed packed(c.weights(), Isa::scalar);
  EXPECT_NO_THROW(packed_header(packed.data, packed.size, Layer::linear, Isa::scalar));
  EXPECT_THROW(packed_header(packed.data, packed.size, Layer::linear, Isa::avx2), std::invalid_argument);
  EXPECT_THROW(packed_header(packed.data, packed.size, Layer::conv, Isa::scalar), std::invalid_argument);
  EXPECT_THROW(packed_header(packed.data, packed.size - 1, Layer::linear, Isa::scalar), std::invalid_argument);
  EXPECT_THROW(packed_header(packed.data, 8, Layer::linear, Isa::scalar), std::invalid_argument);
  EXPECT_THROW(packed_header(packed.data + 1, packed.size, Layer::linear, Isa::scalar), std::invalid_argument);
  reinterpret_cast<PackedHeader*>(packed.data)->group_outputs += 1;
  EXPECT_THROW(packed_header(packed.data, packed.size, Layer::linear, Isa::scalar), std::invalid_argument);
}

}  // namespace
}  // namespace fxquant
