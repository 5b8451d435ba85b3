// Normalizations of random shapes and strides, on every ISA, against reference.h, bit for bit.
#include "base/strided_test.h"
#include "norm/reference.h"

namespace fxquant {
namespace {

int64_t any_size(Random& random) {
  constexpr int64_t kSizes[] = {1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 48, 63, 64, 65, 96, 127, 130, 257, 384, 1000};
  return kSizes[random.integer(0, std::size(kSizes) - 1)];
}

void fill_real(Random& random, Guarded<float>& buffer, float size) {
  for (size_t i = 0; i < buffer.size(); ++i) buffer[i] = random.real(-size, size);
}

// Codes over the whole range, or all alike.
void fill_codes(Random& random, Guarded<uint8_t>& x) {
  if (random.integer(0, 5) > 0) return fill_random(random, x);
  x.fill(static_cast<uint8_t>(random.integer(0, 255)));
}

double any_eps(Random& random) { return random.integer(0, 3) == 0 ? 0.0 : random.real(1e-5F, 10.0F); }

// Dimensions but the last one in any order, with gaps.
int64_t lay_out(Random& random, Walk<2>& walk, int t) {
  int64_t extent = walk.size[walk.rank - 1] + random.integer(0, 5), last = walk.size[walk.rank - 1];
  walk.stride[t][walk.rank - 1] = 1;
  for (int d = walk.rank - 2; d >= 0; --d) {
    walk.stride[t][d] = extent;
    last += (walk.size[d] - 1) * extent;
    extent *= walk.size[d];
  }
  return last;
}

void check_layer_norm(Random& random) {
  Walk<2> walk;
  walk.rank = 3;
  walk.size[0] = random.integer(1, 4);
  walk.size[1] = random.integer(1, 9);
  walk.size[2] = any_size(random);
  Guarded<uint8_t> y(lay_out(random, walk, 0)), expected(y.size()), x(lay_out(random, walk, 1));
  Guarded<float> weight(static_cast<size_t>(walk.size[2])), bias(weight.size());
  fill_codes(random, x);
  fill_real(random, weight, 100.0F);
  fill_real(random, bias, 100.0F);
  LayerNorm p;
  p.rows = rows_of(walk);
  p.weight = weight.data();
  p.bias = random.integer(0, 1) == 0 ? bias.data() : nullptr;
  p.eps = any_eps(random);
  p.x_zero_point = random_zero_point(random);
  p.output = random_output(random);
  expected.fill(0xA5);
  reference_layer_norm(p, expected.data(), x.data());
  check_every_isa(y, expected, [&](Isa isa, int threads) { layer_norm(p, y.data(), x.data(), isa, threads); });
}

void check_group_norm(Random& random) {
  GroupNorm p;
  p.groups = random.integer(1, 5);
  Walk<2> walk;
  walk.rank = 3;
  walk.size[0] = 1;
  walk.size[1] = random.integer(1, 40);
  walk.size[2] = p.groups * random.integer(1, 30);
  p.examples = random.integer(1, 4);
  const int64_t y_size = lay_out(random, walk, 0), x_size = lay_out(random, walk, 1);
  p.example[0] = y_size + random.integer(0, 3);
  p.example[1] = x_size + random.integer(0, 3);
  p.rows = rows_of(walk);
  Guarded<uint8_t> y((p.examples - 1) * p.example[0] + y_size), expected(y.size());
  Guarded<uint8_t> x((p.examples - 1) * p.example[1] + x_size);
  Guarded<float> weight(static_cast<size_t>(walk.size[2])), bias(weight.size());
  fill_codes(random, x);
  fill_real(random, weight, 100.0F);
  fill_real(random, bias, 100.0F);
  p.weight = weight.data();
  p.bias = bias.data();
  p.eps = any_eps(random);
  p.output = random_output(random);
  expected.fill(0xA5);
  reference_group_norm(p, expected.data(), x.data());
  check_every_isa(y, expected, [&](Isa isa, int threads) {
    Guarded<uint8_t> scratch(static_cast<size_t>(threads * group_norm_scratch(p.rows.length)));
    group_norm(p, y.data(), x.data(), scratch.data(), isa, threads);
  });
}

template <class Check>
void check_many(int cases, const Check& check) {
  for (int i = 0; i < cases; ++i) {
    SCOPED_TRACE(testing::Message() << "case " << i << " of seed " << test_seed());
    Random random(static_cast<uint32_t>(i));
    check(random);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(Norm, layer_norm_agrees_with_the_reference) { check_many(300, check_layer_norm); }

TEST(Norm, group_norm_agrees_with_the_reference) { check_many(200, check_group_norm); }

TEST(Norm, sums_of_many_squares_are_exact) {
  Random random(1);
  Guarded<uint8_t> x(100001), y(x.size()), expected(x.size());
  x.fill(255);
  x[70000] = 0;
  Guarded<float> weight(x.size()), bias(x.size());
  weight.fill(1.0F);
  bias.fill(0.0F);
  LayerNorm p;
  p.rows.length = static_cast<int64_t>(x.size());
  p.rows.step[0] = p.rows.step[1] = 1;
  p.weight = weight.data();
  p.bias = bias.data();
  p.output = {255, 0, 255};
  reference_layer_norm(p, expected.data(), x.data());
  check_every_isa(y, expected, [&](Isa isa, int threads) { layer_norm(p, y.data(), x.data(), isa, threads); });
}

}  // namespace
}  // namespace fxquant
