#include "base/bench.h"

#include "copy/copy.h"

using namespace fxquant;

int main() {
  struct Case {
    const char* what;
    Walk<2> walk;
  };
  // A slice of channels into a concatenation, and ShuffleNet's shuffle of two groups.
  const Case cases[] = {
      {"28x28, 64 channels into 256", {2, {784, 64}, {{256, 1}, {64, 1}}}},
      {"28x28, shuffle of 2 x 58 channels", {3, {784, 58, 2}, {{116, 2, 1}, {116, 1, 58}}}},
  };
  std::vector<uint8_t> x(1 << 20, 1), y(1 << 20);
  for (const Case& c : cases) {
    int64_t bytes = 2;
    for (int d = 0; d < c.walk.rank; ++d) bytes *= c.walk.size[d];
    report(c.what, Isa::scalar, bytes, [&] { copy(c.walk, y.data(), x.data(), 1); });
  }
}
