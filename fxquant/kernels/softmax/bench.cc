// softmax of the scores of attention, one thread.
#include "base/bench.h"

#include "softmax/softmax.h"

using namespace fxquant;

namespace {

void bench(int64_t rows, int64_t length) {
  const auto size = static_cast<size_t>(rows * length);
  const Aligned x(size, 77), y(size, 0), scratch(static_cast<size_t>(softmax_scratch(length)), 0);
  Softmax p;
  p.rows = rows_of(dense_rows<3>(rows, length));
  p.x_scale = 0.05F;
  p.multiplier = 256.0F;
  char name[64];
  std::snprintf(name, sizeof name, "softmax %ld rows of %ld", static_cast<long>(rows), static_cast<long>(length));
  for_each_isa([&](Isa isa) {
    report(name, isa, 2 * rows * length, [&] { softmax(p, {y.get(), x.get(), nullptr}, scratch.get(), isa, 1); });
  });
}

}  // namespace

int main() {
  bench(6 * 197, 197);
  bench(12 * 128, 128);
  bench(1, 1000);
}
