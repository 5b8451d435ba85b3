// layer_norm of the tokens of encoders, one thread.
#include "base/bench.h"

#include <vector>

#include "norm/norm.h"

using namespace fxquant;

namespace {

void bench(int64_t rows, int64_t length) {
  const auto size = static_cast<size_t>(rows * length);
  const Aligned x(size, 77), y(size, 0);
  const std::vector<float> weight(static_cast<size_t>(length), 30.0F), bias(static_cast<size_t>(length), 3.0F);
  LayerNorm p;
  p.rows = rows_of(dense_rows<2>(rows, length));
  p.weight = weight.data();
  p.bias = bias.data();
  p.eps = 1e-3;
  p.output = {128, 0, 255};
  char name[64];
  std::snprintf(name, sizeof name, "layer_norm %ld rows of %ld", static_cast<long>(rows), static_cast<long>(length));
  for_each_isa(
      [&](Isa isa) { report(name, isa, 2 * rows * length, [&] { layer_norm(p, y.get(), x.get(), isa, 1); }); });
}

}  // namespace

int main() {
  bench(197, 384);
  bench(128, 384);
  bench(197, 768);
}
