// matmul and attention of random shapes and strides, on every ISA, against reference.h, bit for bit.
#include "matmul/layouts_test.h"
#include "matmul/reference.h"

namespace fxquant {
namespace {

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

TEST(Matmul, agrees_with_the_reference) { check_many(300, check_matmul); }

TEST(Matmul, attention_agrees_with_the_reference) { check_many(300, check_attention); }

TEST(Matmul, splits_the_rows_of_one_batch) {
  check_many(20, [](Random& random, int64_t) { check_attention(random, 1); });
}

}  // namespace
}  // namespace fxquant
