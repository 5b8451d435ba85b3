// Recurrences of random shapes, strides and states, on every ISA, against reference.h, bit for bit.
#include "base/strided_test.h"
#include "recurrent/reference.h"

namespace fxquant {
namespace {

int64_t any_size(Random& random) {
  constexpr int64_t kSizes[] = {1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 50, 64};
  return kSizes[random.integer(0, std::size(kSizes) - 1)];
}

// One product's parameters, in buffers of their own.
struct Gates {
  Guarded<uint8_t> weight, low;
  Guarded<float> multiplier, bias;
  int64_t hidden, depth, candidate;
  int32_t zero_point;

  Gates(Random& random, Recurrence kind, int64_t units, int64_t k, int32_t zero)
      : weight(static_cast<size_t>(gates_of(kind) * units * k)),
        low(static_cast<size_t>(units * k)),
        multiplier(static_cast<size_t>(gates_of(kind) * units)),
        bias(multiplier.size()),
        hidden(units),
        depth(k),
        candidate(candidate_of(kind)),
        zero_point(zero) {
    fill_random(random, weight);
    fill_random(random, low);
    for (size_t n = 0; n < bias.size(); ++n) {
      multiplier[n] = random.real(1e-6F, 4e-4F);
      bias[n] = random.real(-2.0F, 2.0F);
    }
  }
  GateWeights view(bool two_bytes = false) {
    GateWeights w{depth, reinterpret_cast<const int8_t*>(weight.data()), multiplier.data(), bias.data(), zero_point};
    if (two_bytes) {
      w.low = reinterpret_cast<const int8_t*>(low.data());
      for (int64_t u = 0; u < hidden; ++u) multiplier[static_cast<size_t>(candidate * hidden + u)] /= 256.0F;
    }
    return w;
  }
};

void fill_random(Random& random, Guarded<float>& buffer) {
  for (size_t i = 0; i < buffer.size(); ++i) buffer[i] = random.real(-3.0F, 3.0F);
}

// Value: uint8_t, or float of a dynamic one.
template <class Value>
void check_recurrent(Random& random, Recurrence kind) {
  constexpr bool kDynamic = std::is_same_v<Value, float>;
  const bool two_bytes = kDynamic && random.integer(0, 2) == 0;
  const int64_t hidden = any_size(random), gap = random.integer(0, 5), inputs = any_size(random);
  Recurrent p;
  p.steps = random.integer(1, 6);
  p.batch = random.integer(1, 15);
  p.reverse = random.integer(0, 1) == 1;
  p.h_scale = random.real(1e-3F, 2e-2F);
  p.output = random_output(random);
  p.x_row = inputs + gap;
  p.x_step = p.batch * p.x_row;
  p.y_step = hidden + gap;  // batch first
  p.y_row = p.steps * p.y_step;
  p.h0_row = p.c0_row = p.last_row = hidden + gap;
  const auto extent = [&](int64_t row, int64_t length) { return static_cast<size_t>((p.batch - 1) * row + length); };
  Guarded<Value> x(static_cast<size_t>((p.steps - 1) * p.x_step) + extent(p.x_row, inputs));
  Guarded<Value> y(static_cast<size_t>((p.steps - 1) * p.y_step) + extent(p.y_row, hidden)), expected(y.size());
  Guarded<Value> h0(extent(p.h0_row, hidden));
  Guarded<float> c0(extent(p.c0_row, hidden)), last(c0.size()), expected_last(c0.size());
  fill_random(random, x);
  fill_random(random, h0);
  fill_random(random, c0);
  Gates input(random, kind, hidden, inputs, random_zero_point(random));
  Gates recurrence(random, kind, hidden, hidden, p.output.zero_point);
  if (random.integer(0, 1) == 0) recurrence.bias.fill(0.0F);
  const GateWeights input_weights = input.view(two_bytes), recurrent_weights = recurrence.view(two_bytes);
  const bool states = random.integer(0, 1) == 1;
  const RecurrentOperands given{nullptr, x.data(), states ? h0.data() : nullptr, states ? c0.data() : nullptr, nullptr};
  expected.fill(static_cast<Value>(0xA5));
  expected_last.fill(7.0F);
  RecurrentOperands operands = given;
  operands.y = expected.data();
  operands.last = expected_last.data();
  const auto reference = kDynamic ? reference_dynamic_recurrent : reference_recurrent;
  reference(p, kind, hidden, input_weights, recurrent_weights, operands);
  operands.y = y.data();
  operands.last = last.data();
  check_every_isa(y, expected, [&](Isa isa, int threads) {
    Guarded<uint8_t> packed(static_cast<size_t>(recurrent_packed_size(kind, inputs, hidden, two_bytes, isa)));
    pack_recurrent(kind, hidden, input_weights, recurrent_weights, kDynamic, isa, packed.data());
    p.weights = &recurrent_header(packed.data(), static_cast<int64_t>(packed.size()), isa);
    p.blocks = p.batch < threads ? p.batch : threads;
    Guarded<uint8_t> scratch(static_cast<size_t>(recurrent_scratch(*p.weights, p.steps, p.batch, p.blocks)));
    scratch.fill(0x5A);
    last.fill(7.0F);
    recurrent(p, operands, scratch.data(), threads);
    expect_same(last, expected_last);
  });
}

TEST(Recurrent, EqualsReference) {
  for (uint32_t salt = 0; salt < 30; ++salt) {
    for (const Recurrence kind : {Recurrence::lstm, Recurrence::gru, Recurrence::rnn_tanh, Recurrence::rnn_relu}) {
      SCOPED_TRACE(testing::Message() << "FXQUANT_TEST_SEED=" << test_seed() << ", case " << salt);
      Random random(salt * 4 + static_cast<uint32_t>(kind));
      check_recurrent<uint8_t>(random, kind);
      check_recurrent<float>(random, kind);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(Recurrent, RefusesWhatWasNotPackedForIt) {
  Random random(1);
  Gates input(random, Recurrence::lstm, 1, 3, 5), recurrence(random, Recurrence::lstm, 1, 1, 6);
  std::vector<uint8_t> packed(static_cast<size_t>(recurrent_packed_size(Recurrence::lstm, 3, 1, false, Isa::scalar)));
  pack_recurrent(Recurrence::lstm, 1, input.view(), recurrence.view(), false, Isa::scalar, packed.data());
  const auto size = static_cast<int64_t>(packed.size());
  EXPECT_EQ(recurrent_header(packed.data(), size, Isa::scalar).inputs, 3);
  EXPECT_THROW(recurrent_header(packed.data(), size - 1, Isa::scalar), std::invalid_argument);
  EXPECT_THROW(recurrent_header(packed.data(), size, Isa::avx2), std::invalid_argument);
  packed[30] ^= 1;
  EXPECT_THROW(recurrent_header(packed.data(), size, Isa::scalar), std::invalid_argument);
}

}  // namespace
}  // namespace fxquant
