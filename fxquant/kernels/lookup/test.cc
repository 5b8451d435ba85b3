#include "base/strided_test.h"
#include "lookup/lookup.h"
#include "lookup/reference.h"

namespace fxquant {
namespace {

// Strides of `view` as tensor t of a walk over [n, h, w, c].
template <int N, class T>
void set_strides(Walk<N>& walk, int t, const Nhwc<T>& view) {
  const int64_t stride[] = {view.stride_n, view.stride_h, view.stride_w, 1};
  for (int d = 0; d < 4; ++d) walk.stride[t][d] = stride[d];
}

template <class T>
Nhwc<T> with_gaps(Random& random, const int64_t (&size)[4], T* data) {
  const int64_t w = size[3] + random.integer(0, 1) * random.integer(0, 5);
  const int64_t h = w * size[2] + random.integer(0, 1) * random.integer(0, 9);
  return {data, size[0], size[1], size[2], size[3], h * size[1], h, w};
}

template <class T>
size_t extent(const Nhwc<T>& view) {
  return static_cast<size_t>((view.n - 1) * view.stride_n + (view.h - 1) * view.stride_h +
                             (view.w - 1) * view.stride_w + view.c);
}

void run(Nhwc<const uint8_t> x, Nhwc<uint8_t> y, const uint8_t* tables, bool per_channel, Isa isa, int threads) {
  Walk<3> walk;
  walk.rank = 4;
  const int64_t size[] = {x.n, x.h, x.w, x.c};
  for (int d = 0; d < 4; ++d) {
    walk.size[d] = size[d];
    walk.stride[2][d] = d == 3 ? kTableSize : 0;
  }
  set_strides(walk, 0, y);
  set_strides(walk, 1, x);
  if (per_channel) return lookup_per_channel(walk, y.data, x.data, tables, isa, threads);
  Walk<2> two;
  two.rank = 4;
  for (int d = 0; d < 4; ++d) two.size[d] = size[d];
  set_strides(two, 0, y);
  set_strides(two, 1, x);
  lookup(two, y.data, x.data, tables, isa, threads);
}

void check(Random& random, const int64_t (&size)[4]) {
  Nhwc<const uint8_t> x = with_gaps<const uint8_t>(random, size, nullptr);
  Nhwc<uint8_t> y = with_gaps<uint8_t>(random, size, nullptr);
  Guarded<uint8_t> from(extent(x)), to(extent(y)), expected(extent(y));
  Guarded<uint8_t> tables(static_cast<size_t>(kTableSize * size[3]));
  fill_random(random, from);
  fill_random(random, tables);
  x.data = from.data();
  for (const bool per_channel : {false, true}) {
    y.data = expected.data();
    expected.fill(0xA5);
    reference_lookup(x, y, tables.data(), per_channel);
    y.data = to.data();
    for (const Isa isa : supported_isas()) {
      SCOPED_TRACE(isa_name(isa));
      for (const int threads : {1, 2}) {
        to.fill(0xA5);
        run(x, y, tables.data(), per_channel, isa, threads);
        expect_same(to, expected);
      }
    }
  }
}

TEST(Lookup, Random) {
  for (int i = 0; i < 300; ++i) {
    SCOPED_TRACE(testing::Message() << "case " << i << " of seed " << test_seed());
    Random random(static_cast<uint32_t>(i));
    check(random, {random.integer(1, 2), random.integer(1, 6), random.integer(1, 6), random.integer(1, 200)});
    if (HasFatalFailure()) return;
  }
}

TEST(Lookup, Large) {
  Random random(1);
  check(random, {1, 57, 31, 67});
  check(random, {2, 9, 31, 128});
}

// Every length around a vector, every code, and a table without structure; y may be x.
TEST(Lookup, EveryCodeInPlace) {
  Random random(2);
  Guarded<uint8_t> table(kTableSize);
  fill_random(random, table);
  for (int64_t count = 1; count < 400; ++count) {
    for (const Isa isa : supported_isas()) {
      SCOPED_TRACE(testing::Message() << isa_name(isa) << ", " << count << " codes");
      Guarded<uint8_t> codes(static_cast<size_t>(count)), expected(static_cast<size_t>(count));
      for (int64_t i = 0; i < count; ++i) {
        codes[i] = static_cast<uint8_t>(i * 5 + count);
        expected[i] = table[codes[i]];
      }
      const Nhwc<uint8_t> view{codes.data(), 1, 1, 1, count, count, count, count};
      run({codes.data(), 1, 1, 1, count, count, count, count}, view, table.data(), false, isa, 1);
      expect_same(codes, expected);
      if (HasFatalFailure()) return;
    }
  }
}

}  // namespace
}  // namespace fxquant
