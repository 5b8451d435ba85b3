// Sums of rows from all over a table that no cache holds, one thread, beside a plain copy.
#include "base/bench.h"

#include "embedding/embedding.h"

using namespace fxquant;

namespace {

void bench(int64_t width, bool four_bits) {
  constexpr int64_t kRows = 500000, kBags = 256, kEach = 40;
  const int64_t bytes = four_bits ? (width + 1) / 2 : width;
  const Aligned codes(static_cast<size_t>(kRows * bytes), 77);
  const std::vector<float> affine(2 * kRows, 0.5F);
  std::vector<int64_t> index(kBags * kEach);
  uint64_t state = 1;
  for (int64_t& i : index) i = static_cast<int64_t>((state = state * 6364136223846793005U + 1) >> 33) % kRows;
  std::vector<float> y(static_cast<size_t>(kBags * width));
  Bags<int64_t> p;
  p.table = {codes.get(), affine.data(), kRows, width, four_bits};
  p.index = index.data();
  p.indices = kBags * kEach;
  p.bags = kBags;
  p.each = kEach;
  char name[64];
  std::snprintf(name, sizeof name, "%d bits, bags of 40 rows of %ld", four_bits ? 4 : 8, static_cast<long>(width));
  for_each_isa(
      [&](Isa isa) { report(name, isa, p.indices * (bytes + 8), [&] { embedding_bags(p, y.data(), isa, 1); }); });
}

}  // namespace

int main() {
  for (const int64_t width : {64, 128}) {
    bench(width, false);
    bench(width, true);
  }
}
