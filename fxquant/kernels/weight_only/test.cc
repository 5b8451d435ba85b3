#include "base/test.h"

#include <cmath>
#include <stdexcept>

#include "weight_only/reference.h"

namespace fxquant {
namespace {

struct Shape {
  int64_t rows, inputs, outputs, group;
};

// All ends at guard pages, with gaps between rows, of which those of y are compared too.
void check(Random& random, const Shape& s, FloatOutput output = {}) {
  const int64_t gap = random.integer(0, 3);
  Guarded<int8_t> weight(static_cast<size_t>(s.inputs * s.outputs));
  Guarded<float> scale(static_cast<size_t>(s.outputs * (s.inputs / s.group))), bias(static_cast<size_t>(s.outputs));
  for (size_t i = 0; i < weight.size(); ++i) weight[i] = static_cast<int8_t>(random.integer(-128, 127));
  for (size_t i = 0; i < scale.size(); ++i) scale[i] = random.real(1e-4F, 1e-2F);
  for (size_t i = 0; i < bias.size(); ++i) bias[i] = random.real(-5.0F, 5.0F);
  const WeightOnlyWeights w = {s.inputs, s.outputs, s.group, weight.data(), scale.data(), bias.data(), output};
  WeightOnlyLinear p = {nullptr, s.rows, s.inputs + gap, s.outputs + gap};
  Guarded<float> x(static_cast<size_t>((s.rows - 1) * p.x_stride + s.inputs));
  for (size_t i = 0; i < x.size(); ++i) x[i] = random.real(-1.0F, 1.0F) * (i % 97 == 5 ? 1e4F : 1.0F);
  if (random.integer(0, 4) == 0) x[x.size() / 2] = std::nanf("");
  Guarded<float> expected(static_cast<size_t>((s.rows - 1) * p.y_stride + s.outputs)), y(expected.size());
  expected.fill(12345.0F);
  reference_weight_only(w, p, expected.data(), x.data());
  for (const Isa isa : supported_isas()) {
    SCOPED_TRACE(testing::Message() << isa_name(isa) << " M=" << s.rows << " K=" << s.inputs << " N=" << s.outputs
                                    << " group=" << s.group << " seed " << test_seed());
    const int64_t size = weight_only_size(w, isa);
    std::vector<uint8_t> memory(static_cast<size_t>(size) + 64);
    uint8_t* packed = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64;
    pack_weight_only(w, isa, packed);
    p.packed = &weight_only_header(packed, size, isa);
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

TEST(WeightOnly, OtherBytesAreRefused) {
  std::vector<uint8_t> memory(128, 7);
  EXPECT_THROW(weight_only_header(memory.data(), 128, Isa::scalar), std::invalid_argument);
}

}  // namespace
}  // namespace fxquant
