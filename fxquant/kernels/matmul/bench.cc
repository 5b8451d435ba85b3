// Attention of encoders, and the product of its scores alone, one thread, beside the peak of the ISA.
#include "base/bench.h"

#include <cstdio>
#include <cstdlib>

#include "matmul/matmul.h"

using namespace fxquant;

namespace {

void print(const char* what, int64_t keys, int64_t depth, Isa isa, double seconds, int64_t macs) {
  std::printf("%-10s %5ld keys of %3ld %-11s %8.1f us %6.1f G MAC/s\n", what, static_cast<long>(keys),
              static_cast<long>(depth), isa_name(isa), seconds * 1e6, static_cast<double>(macs) * 1e-9 / seconds);
}

// Heads side by side, as a projection gives them.
void bench(int64_t heads, int64_t keys, int64_t depth) {
  const int64_t features = heads * depth;
  const auto size = static_cast<size_t>(keys * features);
  const Aligned q(size, 77), k(size, 99), v(size, 144), y(size, 0);
  for (size_t i = 0; i < size; ++i) {
    for (const Aligned* each : {&q, &k, &v}) each->get()[i] = static_cast<uint8_t>(std::rand());
  }
  Attention p;
  p.batches.count = p.batches.size[0] = heads;
  p.batches.rank = 1;
  for (int t = 0; t < 4; ++t) p.batches.stride[t][0] = depth;
  p.batches.stride[4][0] = 0;
  p.queries = p.keys = keys;
  p.depth = p.width = depth;
  p.y_row = p.q_row = p.k.row = p.v.row = features;
  p.score_multiplier = 0.0005F;
  p.value_multiplier = 1.0F;
  p.q_zero_point = 100;
  p.k_zero_point = 120;
  p.v_zero_point = 130;
  p.output = {128, 0, 255};
  Matmul product;
  product.batches.count = 1;
  product.rows = product.columns = keys;
  product.depth = depth;
  product.y_row = keys;
  product.a_row = features;
  product.b = {1, features};
  product.multiplier = 0.001F;
  product.output = p.output;
  const Aligned scores(static_cast<size_t>(keys * keys), 0);
  for_each_isa([&](Isa isa) {
    const Aligned scratch(static_cast<size_t>(attention_scratch(p, isa) + matmul_scratch(product, isa)), 0);
    const AttentionOperands operands{y.get(), q.get(), k.get(), v.get(), nullptr};
    print("attention", keys, depth, isa, best_seconds(0.05, [&] { attention(p, operands, scratch.get(), isa, 1); }),
          2 * heads * keys * keys * depth);
    const MatmulOperands factors{scores.get(), q.get(), k.get()};
    print("matmul", keys, depth, isa, best_seconds(0.05, [&] { matmul(product, factors, scratch.get(), isa, 1); }),
          keys * keys * depth);
  });
}

}  // namespace

int main() {
  bench(6, 197, 64);
  bench(12, 128, 32);
  bench(12, 512, 64);
}
