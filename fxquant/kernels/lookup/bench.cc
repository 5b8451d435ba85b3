// lookup in one table and in a table a channel, one thread, beside a plain copy.
#include "base/bench.h"

#include "lookup/lookup.h"

using namespace fxquant;

namespace {

void bench(int64_t pixels, int64_t channels) {
  const int64_t count = pixels * channels;
  const auto size = static_cast<size_t>(count);
  const Aligned x(size, 0), y(size, 0), tables(static_cast<size_t>(channels * kTableSize), 9);
  for (int64_t i = 0; i < count; ++i) x.get()[i] = static_cast<uint8_t>(i * 37);
  char name[64];
  for_each_isa([&](Isa isa) {
    std::snprintf(name, sizeof name, "lookup %ld bytes", static_cast<long>(count));
    Walk<2> walk;
    walk.rank = 1;
    walk.size[0] = count;
    walk.stride[0][0] = walk.stride[1][0] = 1;
    report(name, isa, 2 * count, [&] { lookup(walk, y.get(), x.get(), tables.get(), isa, 1); });
    Walk<3> channelwise;
    channelwise.rank = 2;
    channelwise.size[0] = pixels;
    channelwise.size[1] = channels;
    for (int t = 0; t < 2; ++t) {
      channelwise.stride[t][0] = channels;
      channelwise.stride[t][1] = 1;
    }
    channelwise.stride[2][0] = 0;
    channelwise.stride[2][1] = kTableSize;
    std::snprintf(name, sizeof name, "%ld tables, %ld bytes", static_cast<long>(channels), static_cast<long>(count));
    report(name, isa, 2 * count, [&] { lookup_per_channel(channelwise, y.get(), x.get(), tables.get(), isa, 1); });
  });
}

}  // namespace

int main() {
  bench(28 * 28, 240);
  bench(112 * 112, 64);
}
