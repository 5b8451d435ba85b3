#include <limits>

#include "base/strided_test.h"
#include "quantize/reference.h"

namespace fxquant {
namespace {

void randomize(Random& random, Quantize& p) {
  constexpr float kScales[] = {0.5F, 1.0F, 1e-20F, 1e20F};  // ties, and quotients beyond int32
  const int64_t which = random.integer(0, 7);
  p = {which < 4 ? kScales[which] : random.real(0.001F, 0.2F), random_output(random)};
}

void randomize(Random& random, Dequantize& p) { p = {random.real(0.001F, 2.0F), random_zero_point(random)}; }

void fill_random(Random& random, Guarded<float>& buffer) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kSpecial[] = {std::numeric_limits<float>::quiet_NaN(), kInfinity, -kInfinity, -0.0F, 3e38F, 1e-45F};
  for (size_t i = 0; i < buffer.size(); ++i) {
    const int64_t which = random.integer(0, 99);
    buffer[i] = which < 6 ? kSpecial[which] : which < 50 ? 0.5F * random.integer(-99, 99) : random.real(-20.0F, 20.0F);
  }
}

void run(const Walk<2>& walk, uint8_t* y, const float* x, const Quantize& p, Isa isa, int threads) {
  quantize(walk, y, x, p, isa, threads);
}

void run(const Walk<2>& walk, float* y, const uint8_t* x, const Dequantize& p, Isa isa, int threads) {
  dequantize(walk, y, x, p, isa, threads);
}

template <class To, class From, class Params>
void check_walk(Random& random, const Walk<2>& walk, size_t to_size, size_t from_size) {
  Guarded<To> y(to_size), expected(to_size);
  Guarded<From> x(from_size);
  fill_random(random, x);
  Params params;
  randomize(random, params);
  expected.fill(To(165));
  reference_walk(walk, expected.data(), x.data(), params);
  for (const Isa isa : supported_isas()) {
    for (const int threads : {1, 2, 3}) {
      SCOPED_TRACE(testing::Message() << isa_name(isa) << ", " << threads << " threads");
      y.fill(To(165));
      run(walk, y.data(), x.data(), params, isa, threads);
      expect_same(y, expected);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

template <class To, class From, class Params>
void check_random(int cases, int64_t limit) {
  for (int i = 0; i < cases; ++i) {
    SCOPED_TRACE(testing::Message() << "case " << i << " of seed " << test_seed());
    Random random(static_cast<uint32_t>(i));
    Walk<2> walk;
    walk.rank = random_shape(random, limit, walk.size);
    const int64_t to_size = random_layout(random, walk, 0, false), from_size = random_layout(random, walk, 1, true);
    check_walk<To, From, Params>(random, walk, static_cast<size_t>(to_size), static_cast<size_t>(from_size));
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(Quantize, Random) { check_random<uint8_t, float, Quantize>(1500, 3000); }
TEST(Quantize, Large) { check_random<uint8_t, float, Quantize>(30, 200000); }
TEST(Dequantize, Random) { check_random<float, uint8_t, Dequantize>(1500, 3000); }
TEST(Dequantize, Large) { check_random<float, uint8_t, Dequantize>(30, 200000); }

// Channels and pixels around the tiles of the transposing loops; pixels of NHWC dense and with room between.
template <class To, class From, class Params>
void check_transposed(bool to_nhwc) {
  for (int64_t channels : {1, 2, 3, 4, 5, 8, 15, 16, 17, 32, 35, 67}) {
    for (int64_t pixels : {1, 2, 7, 8, 9, 15, 16, 17, 24, 31, 33, 64, 100}) {
      for (int64_t room : {0, 5}) {
        SCOPED_TRACE(testing::Message() << channels << " channels, " << pixels << " pixels, room " << room);
        Random random(static_cast<uint32_t>(channels * 1000 + pixels));
        Walk<2> walk;
        walk.rank = 2;
        walk.size[0] = channels;
        walk.size[1] = pixels;
        const int nhwc = to_nhwc ? 0 : 1, nchw = 1 - nhwc;
        walk.stride[nhwc][0] = walk.stride[nchw][1] = 1;
        walk.stride[nhwc][1] = channels + room;
        walk.stride[nchw][0] = pixels + room;
        const size_t nhwc_size = static_cast<size_t>((pixels - 1) * (channels + room) + channels);
        const size_t nchw_size = static_cast<size_t>((channels - 1) * (pixels + room) + pixels);
        check_walk<To, From, Params>(random, walk, to_nhwc ? nhwc_size : nchw_size, to_nhwc ? nchw_size : nhwc_size);
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

TEST(Quantize, Transposed) { check_transposed<uint8_t, float, Quantize>(true); }
TEST(Dequantize, Transposed) { check_transposed<float, uint8_t, Dequantize>(false); }

TEST(Quantize, KnownIntegers) {
  const auto code = [](float x, float scale, const Requantize& output) {
    uint8_t q = 0;
    reference_element(&q, &x, Quantize{scale, output});
    return static_cast<int>(q);
  };
  EXPECT_EQ(code(0.0F, 0.1F, {77, 0, 255}), 77);
  EXPECT_EQ(code(0.5F, 1.0F, {1, 0, 255}), 1);
  EXPECT_EQ(code(1.5F, 1.0F, {1, 0, 255}), 3);
  EXPECT_EQ(code(1e30F, 1e-9F, {1, 0, 255}), 255);
  EXPECT_EQ(code(std::numeric_limits<float>::quiet_NaN(), 1.0F, {100, 3, 255}), 3);
}

}  // namespace
}  // namespace fxquant
