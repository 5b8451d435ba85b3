#include "base/strided_test.h"
#include "elementwise/reference.h"

namespace fxquant {
namespace {

float random_multiplier(Random& random) {
  constexpr float kMultipliers[] = {0.5F, 0.25F, 1.0F, 1e-9F, 3e9F, -3e9F};  // ties, underflow, beyond int32
  const int64_t which = random.integer(0, 11);
  return which < 6 ? kMultipliers[which] : random.real(0.001F, 2.0F);
}

void randomize(Random& random, Add& p) {
  p = {random_multiplier(random), random_multiplier(random), random_zero_point(random), random_zero_point(random),
       random_output(random)};
}

void randomize(Random& random, Mul& p) {
  p = {random_multiplier(random) / 64, random_zero_point(random), random_zero_point(random), random_output(random)};
}

void randomize(Random& random, Maximum& p) { randomize(random, static_cast<Add&>(p)); }
void randomize(Random& random, Minimum& p) { randomize(random, static_cast<Add&>(p)); }

void randomize(Random& random, Div& p) {
  p = {random_multiplier(random), random_zero_point(random), random_zero_point(random), random_output(random),
       random.integer(0, 3) == 0};
}

void run(const Walk<3>& walk, uint8_t* y, const uint8_t* a, const uint8_t* b, const Add& p, Isa isa, int threads) {
  add(walk, y, a, b, p, isa, threads);
}

void run(const Walk<3>& walk, uint8_t* y, const uint8_t* a, const uint8_t* b, const Mul& p, Isa isa, int threads) {
  mul(walk, y, a, b, p, isa, threads);
}

void run(const Walk<3>& walk, uint8_t* y, const uint8_t* a, const uint8_t* b, const Maximum& p, Isa isa, int threads) {
  maximum(walk, y, a, b, p, isa, threads);
}

void run(const Walk<3>& walk, uint8_t* y, const uint8_t* a, const uint8_t* b, const Minimum& p, Isa isa, int threads) {
  minimum(walk, y, a, b, p, isa, threads);
}

void run(const Walk<3>& walk, uint8_t* y, const uint8_t* a, const uint8_t* b, const Div& p, Isa isa, int threads) {
  div(walk, y, a, b, p, isa, threads);
}

template <class Params>
void check(Random& random, int64_t limit) {
  Walk<3> walk;
  walk.rank = random_shape(random, limit, walk.size);
  Guarded<uint8_t> y(random_layout(random, walk, 0, false)), expected(y.size());
  Guarded<uint8_t> a(random_layout(random, walk, 1, true)), b(random_layout(random, walk, 2, true));
  fill_random(random, a);
  fill_random(random, b);
  Params params;
  randomize(random, params);
  expected.fill(0xA5);
  reference_elementwise(walk, expected.data(), a.data(), b.data(), params);
  check_every_isa(y, expected,
                  [&](Isa isa, int threads) { run(walk, y.data(), a.data(), b.data(), params, isa, threads); });
}

template <class Params>
void check_many(int cases, int64_t limit) {
  for (int i = 0; i < cases; ++i) {
    SCOPED_TRACE(testing::Message() << "case " << i << " of seed " << test_seed());
    Random random(static_cast<uint32_t>(i));
    check<Params>(random, limit);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(Elementwise, AddRandom) { check_many<Add>(1500, 3000); }
TEST(Elementwise, MulRandom) { check_many<Mul>(1500, 3000); }
TEST(Elementwise, MaximumRandom) { check_many<Maximum>(1000, 3000); }
TEST(Elementwise, MinimumRandom) { check_many<Minimum>(1000, 3000); }
TEST(Elementwise, DivRandom) { check_many<Div>(1500, 3000); }
TEST(Elementwise, AddLarge) { check_many<Add>(30, 200000); }
TEST(Elementwise, MulLarge) { check_many<Mul>(30, 200000); }

// One byte a column (a gate of squeeze-and-excitation) or a row, on either side, over more rows than a band has.
TEST(Elementwise, EveryRemainderOfColumns) {
  constexpr int64_t kRows = 67;
  for (int64_t columns = 1; columns <= 200; ++columns) {
    SCOPED_TRACE(testing::Message() << columns << " columns, seed " << test_seed());
    Random random(static_cast<uint32_t>(columns));
    const int gates = 1 + static_cast<int>(columns % 2);
    const bool by_row = columns % 3 == 0;
    Walk<3> walk;
    walk.rank = 2;
    walk.size[0] = kRows;
    walk.size[1] = columns;
    for (int t = 0; t < 3; ++t) {
      walk.stride[t][0] = t != gates ? columns : by_row ? 1 : 0;
      walk.stride[t][1] = t == gates && by_row ? 0 : 1;
    }
    Guarded<uint8_t> image(kRows * columns), gate(by_row ? kRows : columns), y(image.size()), expected(image.size());
    fill_random(random, image);
    fill_random(random, gate);
    const uint8_t *a = gates == 1 ? gate.data() : image.data(), *b = gates == 1 ? image.data() : gate.data();
    const Mul p{random.real(0.001F, 0.01F), random_zero_point(random), random_zero_point(random),
                random_output(random)};
    const Add q{0.3F, 0.6F, p.a_zero_point, p.b_zero_point, p.output};
    for (const Isa isa : supported_isas()) {
      SCOPED_TRACE(isa_name(isa));
      reference_elementwise(walk, expected.data(), a, b, p);
      mul(walk, y.data(), a, b, p, isa, 2);
      expect_same(y, expected);
      reference_elementwise(walk, expected.data(), a, b, q);
      add(walk, y.data(), a, b, q, isa, 1);
      expect_same(y, expected);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(Elementwise, AddEveryPair) {
  Walk<3> walk;
  walk.rank = 2;
  walk.size[0] = walk.size[1] = 256;
  walk.stride[0][0] = 256;
  walk.stride[1][0] = walk.stride[0][1] = walk.stride[2][1] = 1;
  walk.stride[1][1] = walk.stride[2][0] = 0;
  Guarded<uint8_t> codes(256), y(65536), expected(65536);
  for (int i = 0; i < 256; ++i) codes[i] = static_cast<uint8_t>(i);
  for (const Add& p : {Add{0.5F, 0.25F, 0, 255, {127, 0, 255}}, Add{0.731F, 0.269F, 128, 3, {128, 0, 255}}}) {
    reference_elementwise(walk, expected.data(), codes.data(), codes.data(), p);
    for (const Isa isa : supported_isas()) {
      SCOPED_TRACE(isa_name(isa));
      add(walk, y.data(), codes.data(), codes.data(), p, isa, 1);
      expect_same(y, expected);
    }
  }
}

TEST(Elementwise, InPlace) {
  Walk<3> walk;
  walk.rank = 1;
  walk.size[0] = 1003;
  walk.stride[0][0] = walk.stride[1][0] = walk.stride[2][0] = 1;
  const Add p{0.7F, 0.4F, 3, 200, {11, 0, 255}};
  for (const Isa isa : supported_isas()) {
    SCOPED_TRACE(isa_name(isa));
    Random random(7);
    Guarded<uint8_t> a(1003), b(1003), expected(1003);
    fill_random(random, a);
    fill_random(random, b);
    reference_elementwise(walk, expected.data(), a.data(), b.data(), p);
    add(walk, a.data(), a.data(), b.data(), p, isa, 2);
    expect_same(a, expected);
  }
}

TEST(Elementwise, KnownIntegers) {
  const Add half{0.5F, 0.5F, 0, 0, {0, 0, 255}};
  EXPECT_EQ(reference_element(1, 0, half), 0);
  EXPECT_EQ(reference_element(2, 1, half), 2);
  EXPECT_EQ(reference_element(5, 0, half), 2);
  EXPECT_EQ(reference_element(255, 255, Add{3e9F, 3e9F, 0, 0, {0, 0, 255}}), 255);
  EXPECT_EQ(reference_element(0, 0, Add{3e9F, 3e9F, 1, 1, {9, 0, 255}}), 0);
  EXPECT_EQ(reference_element(7, 9, Maximum{half}), 4);  // 4.5
  EXPECT_EQ(reference_element(7, 9, Minimum{half}), 4);  // 3.5
  EXPECT_EQ(reference_element(9, 6, Div{1.0F, 0, 0, {10, 0, 255}}), 12);
  EXPECT_EQ(reference_element(9, 6, Div{1.0F, 0, 6, {10, 0, 255}}), 255);
  EXPECT_EQ(reference_element(9, 6, Div{1.0F, 10, 6, {10, 3, 255}}), 3);
  EXPECT_EQ(reference_element(9, 6, Div{1.0F, 9, 6, {10, 3, 255}}), 3);
  EXPECT_EQ(reference_element(255, 0, Mul{1.0F, 0, 255, {255, 17, 255}}), 17);
}

}  // namespace
}  // namespace fxquant
