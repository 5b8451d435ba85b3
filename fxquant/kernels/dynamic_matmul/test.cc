// Dynamic products of random shapes and strides, on every ISA, against reference.h, bit for bit.
#include <cfloat>

#include "dynamic_matmul/reference.h"
#include "floats/attention_test.h"
#include "matmul/layouts_test.h"

namespace fxquant {
namespace {

// Of ordinary size, or beyond what a scale of 127ths has.
constexpr float kOdd[] = {0.0F, 1e-42F, -3e38F, 1e20F, kInfinity, -kInfinity, kNan, -kNan};

void fill(Random& random, Guarded<float>& x, bool odd) {
  randomize(x, random);
  for (size_t i = 0; odd && i < x.size(); i += static_cast<size_t>(random.integer(1, 60)))
    x[i] = kOdd[random.integer(0, 7)];
}

void check_dynamic(Random& random, int64_t batches) {
  DynamicMatmul p;
  p.rows = any_size(random);
  p.columns = any_size(random);
  p.depth = any_size(random);
  const Layout y_layout(random, batches, p.rows, p.columns, true), a_layout(random, batches, p.rows, p.depth, true);
  const Layout b_layout(random, batches, p.depth, p.columns, false);
  Guarded<float> y(y_layout.extent), a(a_layout.extent), b(b_layout.extent);
  const bool odd = random.integer(0, 3) == 0;
  fill(random, a, odd);
  fill(random, b, odd);
  p.batches = batches_of<3>(batches, {y_layout.batch, a_layout.batch, b_layout.batch});
  p.y_row = y_layout.strides.row;
  p.a_row = a_layout.strides.row;
  p.b = b_layout.strides;
  p.scale = random.integer(0, 1) == 0 ? 1.0F : random.real(-2.0F, 2.0F);
  std::vector<float> expected(y.size(), kGap);
  for (int64_t i = 0; i < batches; ++i) {
    reference_dynamic_matmul(
        p, {expected.data() + i * y_layout.batch, a.data() + i * a_layout.batch, b.data() + i * b_layout.batch});
  }
  for (const Isa isa : supported_isas()) {
    for (const int threads : {1, 2}) {
      SCOPED_TRACE(
          named(isa, std::to_string(p.rows) + "x" + std::to_string(p.depth) + "x" + std::to_string(p.columns)));
      Guarded<uint8_t> scratch(static_cast<size_t>(threads * dynamic_matmul_scratch(p, isa)));
      scratch.fill(0x5A);
      y.fill(kGap);
      dynamic_matmul(p, {y.data(), a.data(), b.data()}, scratch.data(), isa, threads);
      expect_same(y, expected);
    }
  }
}

TEST(DynamicMatmul, agrees_with_the_reference) { check_many(300, check_dynamic); }

TEST(DynamicMatmul, splits_the_rows_of_one_batch) {
  check_many(20, [](Random& random, int64_t) { check_dynamic(random, 1); });
}

}  // namespace
}  // namespace fxquant
