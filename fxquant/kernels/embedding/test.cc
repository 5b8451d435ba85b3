#include "base/test.h"

#include "embedding/reference.h"

namespace fxquant {
namespace {

// A table whose rows end at a guard page.
struct Rows {
  Guarded<uint8_t> codes;
  Guarded<float> affine;
  Table table;

  Rows(Random& random, int64_t rows, int64_t width, bool four_bits)
      : codes(static_cast<size_t>(rows * (four_bits ? (width + 1) / 2 : width))),
        affine(static_cast<size_t>(2 * rows)) {
    for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<uint8_t>(random.integer(0, 255));
    for (size_t i = 0; i < affine.size(); i += 2) {
      affine[i] = random.real(1e-3F, 2.0F);
      affine[i + 1] = random.real(-300.0F, 300.0F);
    }
    table = {codes.data(), affine.data(), rows, width, four_bits};
  }
};

template <class Int>
void expect_reference(Bags<Int> p) {
  const auto size = static_cast<size_t>(p.bags * p.table.width);
  Guarded<float> expected(size), y(size);
  reference_bags(p, expected.data());
  for (const Isa isa : supported_isas()) {
    SCOPED_TRACE(isa_name(isa));
    for (const int threads : {1, 2}) {
      y.fill(-7.0F);
      embedding_bags(p, y.data(), isa, threads);
      ASSERT_EQ(std::memcmp(y.data(), expected.data(), size * sizeof(float)), 0);
    }
  }
}

template <class Int>
void check(Random& random, int64_t most_indices, int64_t width) {
  const Rows rows(random, random.integer(1, 30), width, random.integer(0, 1) == 1);
  Bags<Int> p;
  p.table = rows.table;
  p.bags = random.integer(0, 9);
  const bool uneven = random.integer(0, 1) == 1;
  p.each = random.integer(0, most_indices);
  p.indices = uneven ? random.integer(0, 9 * most_indices) : p.bags * p.each;
  Guarded<Int> index(static_cast<size_t>(p.indices)), offsets(static_cast<size_t>(p.bags + 1));
  Guarded<float> weights(static_cast<size_t>(p.indices));
  for (int64_t j = 0; j < p.indices; ++j) {
    index[static_cast<size_t>(j)] = static_cast<Int>(random.integer(0, p.table.rows - 1));
    weights[static_cast<size_t>(j)] = random.real(-2.0F, 2.0F);
  }
  Int at = 0;
  for (int64_t b = 0; b <= p.bags; ++b) {
    offsets[static_cast<size_t>(b)] = at;
    at = static_cast<Int>(random.integer(at, p.indices));
  }
  p.index = index.data();
  p.offsets = uneven ? offsets.data() : nullptr;
  p.last_is_given = random.integer(0, 1) == 1;
  p.weights = random.integer(0, 1) == 1 ? weights.data() : nullptr;
  p.padding = random.integer(-1, 1);
  p.mean = !p.weights && random.integer(0, 1) == 1;
  EXPECT_EQ(wrong_bags(p), "");
  expect_reference(p);
}

TEST(EmbeddingBag, Random) {
  for (int i = 0; i < 400; ++i) {
    SCOPED_TRACE(testing::Message() << "case " << i << " of seed " << test_seed());
    Random random(static_cast<uint32_t>(i));
    check<int32_t>(random, 12, random.integer(1, 150));
    check<int64_t>(random, 12, random.integer(1, 150));
    if (HasFatalFailure()) return;
  }
}

TEST(EmbeddingBag, OnSeveralThreads) {
  Random random(1);
  for (int i = 0; i < 10; ++i) check<int64_t>(random, 300, 256);
}

TEST(EmbeddingBag, WhatIsWrongIsTold) {
  Random random(2);
  const Rows rows(random, 5, 3, false);
  int64_t index[] = {0, 4, 2}, offsets[] = {0, 2, 1, 3};
  Bags<int64_t> p;
  p.table = rows.table;
  p.index = index;
  p.indices = 3;
  p.bags = 3;
  EXPECT_EQ(wrong_bags(p), "");
  for (const int64_t wrong : {int64_t{5}, int64_t{-1}, INT64_MIN, INT64_MAX}) {
    index[1] = wrong;
    EXPECT_EQ(wrong_bags(p), "an embedding of 5 rows takes indices in 0..4, not " + std::to_string(wrong));
  }
  index[1] = 4;
  p.offsets = offsets;
  EXPECT_EQ(wrong_bags(p), "bag 1 would be the indices 2 to 1 of 3");
  offsets[2] = 2;
  EXPECT_EQ(wrong_bags(p), "");
  p.last_is_given = true;
  offsets[3] = 9;
  EXPECT_EQ(wrong_bags(p), "bag 2 would be the indices 2 to 9 of 3");
  offsets[0] = 1;
  EXPECT_EQ(wrong_bags(p), "the offset of the first bag is 1, not 0");
}

}  // namespace
}  // namespace fxquant
