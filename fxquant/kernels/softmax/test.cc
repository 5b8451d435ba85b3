// softmax and log_softmax of random shapes and strides, on every ISA, against reference.h, bit for bit.
#include "base/strided_test.h"
#include "softmax/reference.h"

namespace fxquant {
namespace {

void check(Random& random) {
  Walk<3> walk;
  do {
    walk.rank = random_shape(random, 3000, walk.size);
  } while (walk.rank == 0);
  Guarded<uint8_t> y(random_layout(random, walk, 0, false)), expected(y.size());
  Guarded<uint8_t> x(random_layout(random, walk, 1, true));
  const auto mask_size = static_cast<size_t>(random_layout(random, walk, 2, true));
  Guarded<uint8_t> bools(mask_size);
  Guarded<float> floats(mask_size);
  fill_random(random, x);
  for (size_t i = 0; i < mask_size; ++i) {
    bools[i] = static_cast<uint8_t>(random.integer(0, 1));
    floats[i] = random.integer(0, 2) == 0 ? -INFINITY : random.real(-3.0F, 3.0F);
  }
  Softmax p;
  p.rows = rows_of(walk);
  p.logarithm = random.integer(0, 1) == 0;
  p.masked = !p.logarithm && random.integer(0, 1) == 0;
  p.bools = random.integer(0, 1) == 0;
  p.x_scale = random.real(0.001F, 0.2F);
  p.x_zero_point = random_zero_point(random);
  p.multiplier = random.integer(0, 4) == 0 ? 3e9F : random.real(10.0F, 400.0F);
  p.output = random_output(random);
  const uint8_t* mask = p.bools ? bools.data() : reinterpret_cast<const uint8_t*>(floats.data());
  expected.fill(0xA5);
  for (int64_t r = 0; r < p.rows.count; ++r) {
    reference_softmax(p, expected.data() + p.rows.offset(r, 0), x.data() + p.rows.offset(r, 1),
                      mask + p.rows.offset(r, 2) * (p.bools ? 1 : 4));
  }
  check_every_isa(y, expected, [&](Isa isa, int threads) {
    Guarded<uint8_t> scratch(static_cast<size_t>(threads * softmax_scratch(p.rows.length)));
    softmax(p, {y.data(), x.data(), p.masked ? mask : nullptr}, scratch.data(), isa, threads);
  });
}

TEST(Softmax, agrees_with_the_reference) {
  for (int i = 0; i < 400; ++i) {
    SCOPED_TRACE(testing::Message() << "case " << i << " of seed " << test_seed());
    Random random(static_cast<uint32_t>(i));
    check(random);
    if (testing::Test::HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace fxquant
