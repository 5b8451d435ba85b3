#include "base/test.h"

#include "grouped/grouped.h"
#include "grouped/reference.h"

namespace fxquant {
namespace {

void check(Random& random, int64_t rows, int64_t inputs, int64_t outputs, int64_t group, bool dynamic = false) {
  const int64_t groups = (inputs + group - 1) / group, gap = random.integer(0, 3);
  Guarded<int8_t> weight(static_cast<size_t>(inputs * outputs));
  Guarded<float> scale(static_cast<size_t>(outputs * groups)), bias(static_cast<size_t>(outputs));
  for (size_t i = 0; i < weight.size(); ++i) weight[i] = static_cast<int8_t>(random.integer(-128, 127));
  for (size_t i = 0; i < scale.size(); ++i) scale[i] = random.real(1e-4F, 1e-2F);
  for (size_t i = 0; i < bias.size(); ++i) bias[i] = random.real(-50.0F, 50.0F);
  GroupedWeights w;
  w.inputs = inputs;
  w.outputs = outputs;
  w.group = group;
  w.weight = weight.data();
  w.scale = scale.data();
  GroupedLinear p;
  p.rows = rows;
  p.x_stride = inputs + gap;
  const int64_t element = dynamic ? 4 : 1;
  p.y_stride = (outputs + gap) * element;
  p.x_zero_point = static_cast<int32_t>(random.integer(0, 255));
  p.multiplier = random.real(1e-3F, 0.1F);
  p.bias = bias.data();
  p.output = {static_cast<int32_t>(random.integer(0, 255)), static_cast<int32_t>(random.integer(0, 20)), 250};
  std::vector<RowTerms> terms(static_cast<size_t>(rows));
  for (RowTerms& each : terms) each = {static_cast<int32_t>(random.integer(0, 255)), random.real(1e-3F, 0.1F)};
  if (dynamic) {
    p.terms = terms.data();
    p.bounds = {random.integer(0, 1) ? -10.0F : -INFINITY, random.integer(0, 1) ? 20.0F : INFINITY};
  }
  Guarded<uint8_t> x(static_cast<size_t>((rows - 1) * p.x_stride + inputs));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<uint8_t>(random.integer(0, 255));
  Guarded<uint8_t> expected(static_cast<size_t>((rows - 1) * p.y_stride + outputs * element)), y(expected.size());
  expected.fill(0xA5);
  reference_grouped(w, p, expected.data(), x.data());
  for (const Isa isa : supported_isas()) {
    SCOPED_TRACE(isa_name(isa));
    const int64_t size = grouped_size(w, isa);
    std::vector<uint8_t> memory(static_cast<size_t>(size) + 64);
    uint8_t* packed = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64;
    pack_grouped(w, isa, packed);
    p.packed = &grouped_header(packed, size, isa);
    for (const int threads : {1, 2}) {
      y.fill(0xA5);
      grouped_linear(p, y.data(), x.data(), threads);
      ASSERT_EQ(std::memcmp(y.data(), expected.data(), y.size()), 0);
    }
  }
}

TEST(Grouped, Random) {
  for (int i = 0; i < 300; ++i) {
    SCOPED_TRACE(testing::Message() << "case " << i << " of seed " << test_seed());
    Random random(static_cast<uint32_t>(i));
    check(random, random.integer(1, 13), random.integer(1, 150), random.integer(1, 80), random.integer(1, 70));
    if (HasFatalFailure()) return;
  }
}

TEST(Grouped, RowsWithTermsOfTheirOwn) {
  for (int i = 0; i < 300; ++i) {
    SCOPED_TRACE(testing::Message() << "case " << i << " of seed " << test_seed());
    Random random(static_cast<uint32_t>(i));
    check(random, random.integer(1, 13), random.integer(1, 150), random.integer(1, 80), random.integer(1, 70), true);
    if (HasFatalFailure()) return;
  }
}

TEST(Grouped, Large) {
  Random random(1);
  check(random, 37, 512, 200, 32);
  check(random, 1, 4096, 70, 128);
}

TEST(Grouped, OtherBytesAreRefused) {
  std::vector<uint8_t> memory(128, 7);
  EXPECT_THROW(grouped_header(memory.data(), 128, Isa::scalar), std::invalid_argument);
}

}  // namespace
}  // namespace fxquant
