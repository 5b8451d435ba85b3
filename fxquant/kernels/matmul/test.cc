// matmul and attention of random shapes and strides, on every ISA, against reference.h, bit for bit.
#include "base/strided_test.h"
#include "matmul/reference.h"

namespace fxquant {
namespace {

int64_t any_size(Random& random) {
  constexpr int64_t kSizes[] = {1, 2, 3, 4, 5, 8, 13, 14, 15, 16, 17, 27, 31, 32, 33, 48, 61, 64, 65, 100};
  return kSizes[random.integer(0, std::size(kSizes) - 1)];
}

// A batch of matrices in one buffer, each row or each column side by side, or neither; with gaps.
struct Layout {
  Matrix strides;
  int64_t batch, extent;

  Layout(Random& random, int64_t batches, int64_t rows, int64_t columns, bool dense_rows) {
    const int64_t kind = dense_rows ? 0 : random.integer(0, 2), gap = random.integer(0, 1) * random.integer(0, 5);
    const int64_t step = kind == 2 ? 2 : 1;
    strides = kind == 1 ? Matrix{1, rows + gap} : Matrix{step * columns + gap, step};
    const int64_t one = (rows - 1) * strides.row + (columns - 1) * strides.column + 1;
    batch = batches > 1 && random.integer(0, 3) == 0 && !dense_rows ? 0 : one + gap;
    extent = (batches - 1) * batch + one;
  }
};

template <int N>
Rows<N> batches_of(int64_t count, const int64_t (&strides)[N]) {
  Rows<N> rows;
  rows.rank = 1;
  rows.count = rows.size[0] = count;
  for (int t = 0; t < N; ++t) rows.stride[t][0] = strides[t];
  return rows;
}

void check_matmul(Random& random, int64_t batches) {
  Matmul p;
  p.rows = any_size(random);
  p.columns = any_size(random);
  p.depth = any_size(random);
  const Layout y_layout(random, batches, p.rows, p.columns, true), a_layout(random, batches, p.rows, p.depth, true);
  const Layout b_layout(random, batches, p.depth, p.columns, false);
  Guarded<uint8_t> y(y_layout.extent), expected(y_layout.extent), a(a_layout.extent), b(b_layout.extent);
  fill_random(random, a);
  fill_random(random, b);
  p.batches = batches_of<3>(batches, {y_layout.batch, a_layout.batch, b_layout.batch});
  p.y_row = y_layout.strides.row;
  p.a_row = a_layout.strides.row;
  p.b = b_layout.strides;
  p.multiplier = random.integer(0, 4) == 0 ? 3e9F : random.real(1e-4F, 2e-3F);
  p.a_zero_point = random_zero_point(random);
  p.b_zero_point = random_zero_point(random);
  p.output = random_output(random);
  expected.fill(0xA5);
  for (int64_t i = 0; i < batches; ++i) {
    reference_matmul(p, expected.data() + i * y_layout.batch, a.data() + i * a_layout.batch,
                     b.data() + i * b_layout.batch);
  }
  check_every_isa(y, expected, [&](Isa isa, int threads) {
    Guarded<uint8_t> scratch(static_cast<size_t>(threads * matmul_scratch(p, isa)));
    scratch.fill(0x5A);
    matmul(p, {y.data(), a.data(), b.data()}, scratch.data(), isa, threads);
  });
}

// Scores of -3e38 and -inf, or of ordinary size.
void fill_mask(Random& random, Guarded<float>& mask) {
  constexpr float kMasks[] = {-INFINITY, -FLT_MAX, -10000.0F, 0.0F};
  for (size_t i = 0; i < mask.size(); ++i) {
    mask[i] = random.integer(0, 1) == 0 ? kMasks[random.integer(0, 3)] : random.real(-2.0F, 2.0F);
  }
}

void check_attention(Random& random, int64_t batches) {
  Attention p;
  p.queries = any_size(random);
  p.keys = any_size(random);
  p.depth = any_size(random);
  p.width = any_size(random);
  const Layout y_layout(random, batches, p.queries, p.width, true), q_layout(random, batches, p.queries, p.depth, true);
  const Layout k_layout(random, batches, p.keys, p.depth, false), v_layout(random, batches, p.keys, p.width, false);
  const Layout mask_layout(random, batches, p.queries, p.keys, false);
  Guarded<uint8_t> y(y_layout.extent), expected(y_layout.extent);
  Guarded<uint8_t> q(q_layout.extent), k(k_layout.extent), v(v_layout.extent), bools(mask_layout.extent);
  Guarded<float> floats(mask_layout.extent);
  for (Guarded<uint8_t>* each : {&q, &k, &v}) fill_random(random, *each);
  for (size_t i = 0; i < bools.size(); ++i) bools[i] = static_cast<uint8_t>(random.integer(0, 1));
  fill_mask(random, floats);
  p.batches =
      batches_of<5>(batches, {y_layout.batch, q_layout.batch, k_layout.batch, v_layout.batch, mask_layout.batch});
  p.y_row = y_layout.strides.row;
  p.q_row = q_layout.strides.row;
  p.k = k_layout.strides;
  p.v = v_layout.strides;
  p.mask_strides = mask_layout.strides;
  p.mask = static_cast<Mask>(random.integer(0, 2));
  p.causal = random.integer(0, 2) == 0;
  p.score_multiplier = random.real(1e-5F, 2e-3F);
  p.value_multiplier = random.integer(0, 4) == 0 ? 3e9F : random.real(0.1F, 3.0F);
  p.q_zero_point = random_zero_point(random);
  p.k_zero_point = random_zero_point(random);
  p.v_zero_point = random_zero_point(random);
  p.output = random_output(random);
  const uint8_t* mask = p.mask == Mask::floats ? reinterpret_cast<const uint8_t*>(floats.data()) : bools.data();
  const int64_t mask_batch = mask_layout.batch * (p.mask == Mask::floats ? 4 : 1);
  expected.fill(0xA5);
  for (int64_t i = 0; i < batches; ++i) {
    reference_attention(p, expected.data() + i * y_layout.batch, q.data() + i * q_layout.batch,
                        k.data() + i * k_layout.batch, v.data() + i * v_layout.batch, mask + i * mask_batch);
  }
  check_every_isa(y, expected, [&](Isa isa, int threads) {
    Guarded<uint8_t> scratch(static_cast<size_t>(threads * attention_scratch(p, isa)));
    scratch.fill(0x5A);
    const AttentionOperands operands{y.data(), q.data(), k.data(), v.data(), p.mask == Mask::none ? nullptr : mask};
    attention(p, operands, scratch.data(), isa, threads);
  });
}

template <class Check>
void check_many(int cases, const Check& check) {
  for (int i = 0; i < cases; ++i) {
    SCOPED_TRACE(testing::Message() << "case " << i << " of seed " << test_seed());
    Random random(static_cast<uint32_t>(i));
    check(random, random.integer(1, 5));
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(Matmul, agrees_with_the_reference) { check_many(300, check_matmul); }

TEST(Matmul, attention_agrees_with_the_reference) { check_many(300, check_attention); }

TEST(Matmul, splits_the_rows_of_one_batch) {
  check_many(20, [](Random& random, int64_t) { check_attention(random, 1); });
}

}  // namespace
}  // namespace fxquant
