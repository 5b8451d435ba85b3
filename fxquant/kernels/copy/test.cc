#include <cmath>

#include "base/strided_test.h"
#include "copy/copy.h"
#include "copy/reference.h"

namespace fxquant {
namespace {

TEST(Copy, AnyShapesAndStrides) {
  Random random(71);
  for (int i = 0; i < 400; ++i) {
    SCOPED_TRACE(testing::Message() << "seed " << test_seed() << ", case " << i);
    Walk<2> walk;
    walk.rank = random_shape(random, 20000, walk.size);
    const int64_t y_size = random_layout(random, walk, 0, false), x_size = random_layout(random, walk, 1, true);
    Guarded<uint8_t> x(x_size), y(y_size), expected(y_size);
    fill_random(random, x);
    y.fill(7);
    expected.fill(7);
    reference_copy(walk, expected.data(), x.data());
    copy(walk, y.data(), x.data(), 1 + i % 2);
    expect_same(y, expected);
  }
}

// Channel shuffles: [groups][channels] of each pixel become [channels][groups], and back.
TEST(Copy, ShufflesOfChannels) {
  Random random(73);
  for (int64_t groups = 2; groups <= 6; ++groups) {
    for (const int64_t channels : {1, 2, 15, 16, 17, 58, 130}) {
      const int64_t count = 3 * groups * channels;
      const Walk<2> there = {
          3, {3, channels, groups}, {{groups * channels, groups, 1}, {groups * channels, 1, channels}}};
      const Walk<2> back = {
          3, {3, groups, channels}, {{groups * channels, channels, 1}, {groups * channels, 1, groups}}};
      Guarded<uint8_t> x(count), shuffled(count), expected(count), again(count);
      fill_random(random, x);
      reference_copy(there, expected.data(), x.data());
      copy(there, shuffled.data(), x.data(), 1);
      expect_same(shuffled, expected);
      copy(back, again.data(), shuffled.data(), 1);
      expect_same(again, x);
    }
  }
}

// `number` gives an element.
template <class Number, class Element>
void expect_mask_nonzero(Random& random, int threads, const Element& number) {
  Walk<2> walk;
  walk.rank = random_shape(random, 20000, walk.size);
  const int64_t y_size = random_layout(random, walk, 0, false), x_size = random_layout(random, walk, 1, true);
  Guarded<Number> x(x_size);
  Guarded<uint8_t> y(y_size), expected(y_size);
  for (size_t i = 0; i < x.size(); ++i) x[i] = number();
  y.fill(7);
  expected.fill(7);
  reference_mask_nonzero(walk, expected.data(), x.data());
  mask_nonzero(walk, y.data(), x.data(), threads);
  expect_same(y, expected);
}

// Any one bit of the number, or none.
template <class Integer>
void expect_mask_of_integers(Random& random, int threads) {
  expect_mask_nonzero<Integer>(random, threads, [&] {
    const auto bit = static_cast<int>(random.integer(0, 8 * sizeof(Integer) - 1));
    return static_cast<Integer>(static_cast<Integer>(random.integer(0, 1)) << bit);
  });
}

TEST(MaskNonzero, AnyShapesStridesAndBits) {
  Random random(77);
  for (int i = 0; i < 100; ++i) {
    SCOPED_TRACE(testing::Message() << "seed " << test_seed() << ", case " << i);
    expect_mask_of_integers<uint8_t>(random, 1 + i % 2);
    expect_mask_of_integers<uint16_t>(random, 1 + i % 2);
    expect_mask_of_integers<uint32_t>(random, 1 + i % 2);
    expect_mask_of_integers<uint64_t>(random, 1 + i % 2);
  }
}

TEST(MaskNonzero, ZerosOfBothSigns) {
  Random random(78);
  const double values[] = {0.0, -0.0, 1e-45, -1.0, NAN};
  for (int i = 0; i < 40; ++i) {
    expect_mask_nonzero<float>(random, 1, [&] { return static_cast<float>(values[random.integer(0, 4)]); });
    expect_mask_nonzero<double>(random, 1, [&] { return values[random.integer(0, 4)]; });
  }
}

// Flips and borders: x backwards, or one element again and again, in any dimension.
TEST(Copy, BackwardsAndInPlace) {
  Random random(74);
  for (int i = 0; i < 400; ++i) {
    SCOPED_TRACE(testing::Message() << "seed " << test_seed() << ", case " << i);
    Walk<2> walk;
    walk.rank = random_shape(random, 20000, walk.size);
    const int64_t y_size = random_layout(random, walk, 0, false), x_size = random_layout(random, walk, 1, true);
    int64_t first = 0;
    for (int d = 0; d < walk.rank; ++d) {
      if (random.integer(0, 1) == 0) continue;
      first += (walk.size[d] - 1) * walk.stride[1][d];
      walk.stride[1][d] *= -random.integer(0, 1);
    }
    Guarded<uint8_t> x(x_size), y(y_size), expected(y_size);
    fill_random(random, x);
    y.fill(7);
    expected.fill(7);
    reference_copy(walk, expected.data(), x.data() + first);
    copy(walk, y.data(), x.data() + first, 1 + i % 2);
    expect_same(y, expected);
  }
}

// A mask, and one of both operands, may be the same along some dimensions.
TEST(Select, AnyShapesAndStrides) {
  Random random(75);
  for (int i = 0; i < 400; ++i) {
    SCOPED_TRACE(testing::Message() << "seed " << test_seed() << ", case " << i);
    Walk<4> walk;
    walk.rank = random_shape(random, 20000, walk.size);
    const int64_t y_size = random_layout(random, walk, 0, false), mask_size = random_layout(random, walk, 1, true);
    const int64_t a_size = random_layout(random, walk, 2, true), b_size = random_layout(random, walk, 3, true);
    Guarded<uint8_t> mask(mask_size), a(a_size), b(b_size), y(y_size), expected(y_size);
    fill_random(random, mask);
    for (int64_t j = 0; j < mask_size; ++j) mask[static_cast<size_t>(j)] &= 1;
    fill_random(random, a);
    fill_random(random, b);
    y.fill(7);
    expected.fill(7);
    reference_select(walk, expected.data(), mask.data(), a.data(), b.data());
    select(walk, y.data(), mask.data(), a.data(), b.data(), 1 + i % 2);
    expect_same(y, expected);
  }
}

template <class Index>
void check_gather(Random& random, bool wrong) {
  Walk<3> walk;
  walk.rank = random_shape(random, 20000, walk.size);
  const int64_t y_size = random_layout(random, walk, 0, false), index_size = random_layout(random, walk, 1, true);
  const int64_t size = random.integer(1, 9), x_size = random_layout(random, walk, 2, true);
  Guarded<Index> index(index_size);
  Guarded<uint8_t> x(x_size * size), y(y_size), expected(y_size);
  for (int64_t j = 0; j < index_size; ++j)
    index[static_cast<size_t>(j)] = static_cast<Index>(random.integer(0, size - 1));
  if (wrong) index[static_cast<size_t>(random.integer(0, index_size - 1))] = random.integer(0, 1) ? Index{-1} : size;
  fill_random(random, x);
  y.fill(7);
  expected.fill(7);
  const bool right = reference_gather(walk, expected.data(), index.data(), x.data(), x_size, size);
  for (const int threads : {1, 2}) {
    EXPECT_EQ(gather(walk, y.data(), index.data(), x.data(), x_size, size, threads), right);
    expect_same(y, expected);
  }
}

// Positions of any dimension; one out of range is told, and nothing outside of x is read.
TEST(Gather, AnyShapesAndStrides) {
  Random random(76);
  for (int i = 0; i < 400; ++i) {
    SCOPED_TRACE(testing::Message() << "seed " << test_seed() << ", case " << i);
    check_gather<int32_t>(random, i % 3 == 0);
    check_gather<int64_t>(random, i % 3 == 0);
  }
}

TEST(Fill, AnyShapesAndStrides) {
  Random random(72);
  for (int i = 0; i < 400; ++i) {
    SCOPED_TRACE(testing::Message() << "seed " << test_seed() << ", case " << i);
    Walk<1> walk;
    walk.rank = random_shape(random, 20000, walk.size);
    const int64_t size = random_layout(random, walk, 0, false);
    Walk<2> from_one;
    from_one.rank = walk.rank;
    for (int d = 0; d < walk.rank; ++d) {
      from_one.size[d] = walk.size[d];
      from_one.stride[0][d] = walk.stride[0][d];
      from_one.stride[1][d] = 0;
    }
    Guarded<uint8_t> y(size), expected(size);
    y.fill(7);
    expected.fill(7);
    const uint8_t value = static_cast<uint8_t>(random.integer(0, 255));
    reference_copy(from_one, expected.data(), &value);
    fill(walk, y.data(), value, 1 + i % 2);
    expect_same(y, expected);
  }
}

// Images in the middle of a buffer that holds the halo and nothing else.
Nhwc<uint8_t> inner(Guarded<uint8_t>& buffer, const int64_t (&size)[4], int64_t rows, int64_t columns) {
  Nhwc<uint8_t> y = {nullptr, size[0], size[1], size[2], size[3], 0, 0, 0};
  y.stride_w = y.c;
  y.stride_h = (y.w + 2 * columns) * y.stride_w;
  y.stride_n = (y.h + 2 * rows) * y.stride_h;
  y.data = buffer.data() + rows * y.stride_h + columns * y.stride_w;
  return y;
}

TEST(FillHalo, OnlyAndAllOfIt) {
  Random random(73);
  for (int i = 0; i < 400; ++i) {
    SCOPED_TRACE(testing::Message() << "seed " << test_seed() << ", case " << i);
    const int64_t size[4] = {random.integer(1, 3), random.integer(1, 9), random.integer(1, 9), random.integer(1, 40)};
    const int64_t rows = random.integer(0, 3), columns = random.integer(0, 3);
    const int64_t bytes = size[0] * (size[1] + 2 * rows) * (size[2] + 2 * columns) * size[3];
    Guarded<uint8_t> y(static_cast<size_t>(bytes)), expected(static_cast<size_t>(bytes));
    y.fill(7);
    expected.fill(7);
    const uint8_t value = static_cast<uint8_t>(random.integer(0, 255));
    reference_fill_halo(inner(expected, size, rows, columns), rows, columns, value);
    fill_halo(inner(y, size, rows, columns), rows, columns, value, 1 + i % 2);
    expect_same(y, expected);
  }
}

}  // namespace
}  // namespace fxquant
