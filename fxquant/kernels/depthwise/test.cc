// Every kernel against reference.h, bit for bit. Inputs end at guard pages; bytes between output pixels are canaries.
#include "base/test.h"

#include <algorithm>
#include <string>

#include "depthwise/depthwise.h"
#include "depthwise/pack.h"
#include "depthwise/reference.h"

namespace fxquant {
namespace {

constexpr uint8_t kCanary = 0xA5;

struct Shape {
  int64_t n = 1, h = 1, w = 1, c = 1;
  DepthwiseGeometry geometry;
};

// A layer with its tensors, random but for what a test changes.
class Case {
 public:
  Case(const Shape& shape, uint32_t salt, bool gaps)
      : shape_(shape),
        salt_(salt),
        random_(salt),
        oh_(shape.geometry.output_h(shape.h)),
        ow_(shape.geometry.output_w(shape.w)),
        x_pitch_(shape.c + (gaps ? 3 : 0)),
        y_pitch_(shape.c + (gaps ? 5 : 0)),
        weight(static_cast<size_t>(shape.c * shape.geometry.kernel_h * shape.geometry.kernel_w)),
        bias(static_cast<size_t>(shape.c)),
        multiplier(static_cast<size_t>(shape.c)),
        x(elements(shape.h, shape.w, x_pitch_)),
        residual(elements(oh_, ow_, shape.c)) {
    for (int8_t& v : weight) v = static_cast<int8_t>(random_.integer(-128, 127));
    for (int32_t& v : bias) v = static_cast<int32_t>(random_.integer(-20000, 20000));
    for (float& v : multiplier) v = random_.real(0.0005F, 0.02F);
    for (uint8_t& v : table) v = static_cast<uint8_t>(random_.integer(0, 255));
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<uint8_t>(random_.integer(0, 255));
    for (size_t i = 0; i < residual.size(); ++i) residual[i] = static_cast<uint8_t>(random_.integer(0, 255));
    layer.channels = static_cast<int32_t>(shape.c);
    layer.geometry = shape.geometry;
    layer.x_zero_point = static_cast<int32_t>(random_.integer(0, 2)) * 255 / 2;
    layer.output = {static_cast<int32_t>(random_.integer(0, 1) * random_.integer(0, 255)), 0, 255};
    layer.weight = weight.data();
    layer.bias = bias.data();
    layer.multiplier = multiplier.data();
  }

  // Compares the kernels of all ISAs, on one thread and, for some of the cases, on two.
  void check() {
    const std::vector<uint8_t> expected = reference();
    for (const Isa isa : supported_isas()) {
      for (int threads = 1; threads <= (salt_ % 4 == 0 ? 2 : 1); ++threads) {
        SCOPED_TRACE(std::string(isa_name(isa)) + ", threads " + std::to_string(threads) + ", " + describe());
        ASSERT_EQ(run(isa, threads), expected);
      }
    }
  }

  std::vector<uint8_t> reference() {
    std::vector<uint8_t> y(elements(oh_, ow_, y_pitch_), kCanary);
    depthwise_reference(layer, x_view(), residual_view(), y_view(y.data()));
    return y;
  }

  std::vector<uint8_t> run(Isa isa, int threads) {
    Guarded<uint8_t> y(elements(oh_, ow_, y_pitch_));
    y.fill(kCanary);
    std::vector<uint8_t> storage(static_cast<size_t>(depthwise_packed_bytes(layer, isa)) + 64);
    uint8_t* packed = storage.data() + (64 - reinterpret_cast<uintptr_t>(storage.data()) % 64) % 64;
    EXPECT_TRUE(depthwise_pack(layer, isa, packed));
    depthwise_run(*reinterpret_cast<PackedDepthwise*>(packed), x_view(), residual_view(), y_view(y.data()), threads);
    return {y.data(), y.data() + y.size()};
  }

 private:
  // Pixels `pitch` apart, without the gap after the last.
  size_t elements(int64_t h, int64_t w, int64_t pitch) const {
    return static_cast<size_t>(shape_.n * h * w * pitch - (pitch - shape_.c));
  }
  template <class T>
  Nhwc<T> view(T* data, int64_t h, int64_t w, int64_t pitch) const {
    return {data, shape_.n, h, w, shape_.c, h * w * pitch, w * pitch, pitch};
  }
  Nhwc<const uint8_t> x_view() { return view<const uint8_t>(x.data(), shape_.h, shape_.w, x_pitch_); }
  Nhwc<uint8_t> y_view(uint8_t* y) const { return view(y, oh_, ow_, y_pitch_); }
  Nhwc<const uint8_t> residual_view() {
    return view<const uint8_t>(layer.has_residual ? residual.data() : nullptr, oh_, ow_, shape_.c);
  }
  std::string describe() const {
    const DepthwiseGeometry& g = shape_.geometry;
    std::string text = "seed " + std::to_string(test_seed());
    for (const int64_t v : {shape_.n, shape_.h, shape_.w, shape_.c}) text += " " + std::to_string(v);
    for (const int32_t v : {g.kernel_h, g.kernel_w, g.stride_h, g.stride_w, g.pad_top, g.pad_left, g.pad_bottom,
                            g.pad_right, g.dilation_h, g.dilation_w})
      text += " " + std::to_string(v);
    return text;
  }

  Shape shape_;
  uint32_t salt_;
  Random random_;
  int64_t oh_, ow_, x_pitch_, y_pitch_;

 public:
  std::vector<int8_t> weight;
  std::vector<int32_t> bias;
  std::vector<float> multiplier;
  uint8_t table[256];
  Guarded<uint8_t> x, residual;
  DepthwiseLayer layer;
};

DepthwiseGeometry square(int32_t kernel, int32_t stride, int32_t pad) {
  return {kernel, kernel, stride, stride, pad, pad, pad, pad, 1, 1};
}

TEST(Depthwise, EveryRemainderOfChannels) {
  for (int64_t c = 1; c <= 130; ++c) {
    for (const int32_t stride : {1, 2}) {
      Case({1, 5, 6, c, square(3, stride, 1)}, static_cast<uint32_t>(c), c % 2 == 0).check();
    }
    Case({1, 5, 4, c, square(2, 1, 1)}, static_cast<uint32_t>(c), c % 2 == 1).check();
  }
}

TEST(Depthwise, EveryImageSize) {
  for (int64_t h = 1; h <= 12; ++h) {
    for (int64_t w = 1; w <= 12; ++w) {
      for (const int32_t kernel : {3, 5}) {
        for (const int32_t stride : {1, 2}) {
          Case({2, h, w, 40, square(kernel, stride, kernel / 2)}, static_cast<uint32_t>(h * 100 + w), false).check();
        }
      }
    }
  }
}

TEST(Depthwise, SeveralPixelsOfNarrowBlocks) {
  for (int64_t h = 1; h <= 6; ++h) {
    for (int64_t w = 1; w <= 11; ++w) {
      for (const int64_t c : {16, 20, 32}) {
        for (const bool gaps : {false, true}) {
          Case narrow({2, h, w, c, square(3, 1, 1)}, static_cast<uint32_t>(h * 100 + w), gaps);
          narrow.check();
          narrow.layer.has_residual = true;
          narrow.layer.residual = {100, 0.3F};
          narrow.check();
        }
      }
    }
  }
}

TEST(Depthwise, WideRowsNeedSeveralStrips) {
  for (const int64_t w : {59, 62, 63, 64, 65, 130, 200}) {
    for (const int32_t kernel : {3, 5}) {
      for (const int32_t stride : {1, 2}) {
        Case({1, 6, w, 17, square(kernel, stride, kernel / 2)}, static_cast<uint32_t>(w), true).check();
      }
    }
  }
}

TEST(Depthwise, ManyBandsAndImages) {
  Case({3, 37, 150, 200, square(3, 1, 1)}, 4, false).check();
  Case({2, 40, 160, 144, square(5, 2, 2)}, 8, false).check();
}

TEST(Depthwise, RandomGeometries) {
  Random random(7);
  const auto pick = [&](int64_t low, int64_t high) { return static_cast<int32_t>(random.integer(low, high)); };
  for (uint32_t i = 0; i < 600; ++i) {
    DepthwiseGeometry g{pick(1, 7), pick(1, 7), pick(1, 3), pick(1, 3), pick(0, 4),
                        pick(0, 4), pick(0, 4), pick(0, 4), pick(1, 3), pick(1, 3)};
    if (i % 2 == 0) {  // half of them for the kernels of fixed geometries
      g.kernel_h = g.kernel_w = 3 + 2 * pick(0, 1);
      g.stride_h = g.stride_w = pick(1, 2);
      g.dilation_h = g.dilation_w = 1;
    }
    const Shape shape{pick(1, 2), pick(1, 14), pick(1, 14), pick(1, 100), g};
    if (g.output_h(shape.h) < 1 || g.output_w(shape.w) < 1) continue;
    Case c(shape, 1000 + i, i % 3 == 0);
    c.layer.has_residual = pick(0, 1) == 1;
    c.layer.residual = {pick(0, 255), random.real(-0.7F, 0.7F)};
    if (pick(0, 1) == 1) c.layer.table = c.table;
    c.layer.output.quant_min = pick(0, 100);
    c.layer.output.quant_max = pick(101, 255);
    c.check();
  }
}

TEST(Depthwise, LargestSumsAreExact) {
  for (const int8_t weight : {int8_t{-128}, int8_t{127}}) {
    for (const int32_t zero_point : {0, 255}) {
      for (const int32_t kernel : {2, 3, 5}) {
        Case c({1, 8, 9, 70, square(kernel, 1, 1)}, 3, false);
        for (int8_t& v : c.weight) v = weight;
        for (size_t i = 0; i < c.x.size(); ++i) c.x[i] = static_cast<uint8_t>(255 - zero_point);
        for (float& v : c.multiplier) v = 1.0F / 4096;
        for (int32_t& v : c.bias) v = 0;
        c.layer.x_zero_point = zero_point;
        c.layer.output.zero_point = 128;
        c.check();
      }
    }
  }
}

TEST(Depthwise, HugeProductsSaturate) {
  for (const float multiplier : {1e7F, 1e30F}) {
    Case c({1, 6, 6, 72, square(3, 1, 1)}, 4, false);
    for (float& v : c.multiplier) v = multiplier;
    c.check();
    const std::vector<uint8_t> y = c.run(best_isa(), 1);
    EXPECT_NE(std::count(y.begin(), y.end(), 0), 0);
    EXPECT_NE(std::count(y.begin(), y.end(), 255), 0);
  }
}

TEST(Depthwise, TiesRoundToEven) {
  for (const int32_t zero_point : {100, 101}) {
    Case c({1, 7, 7, 33, square(3, 1, 1)}, 5, false);
    for (int8_t& v : c.weight) v = static_cast<int8_t>(v % 2);
    for (float& v : c.multiplier) v = 0.5F;
    for (int32_t& v : c.bias) v = v % 64;
    for (size_t i = 0; i < c.x.size(); ++i) c.x[i] %= 8;
    c.layer.x_zero_point = 3;
    c.layer.output.zero_point = zero_point;
    c.check();
  }
}

TEST(Depthwise, RefusesOverflowingBias) {
  Case c({1, 3, 3, 4, square(3, 1, 1)}, 6, false);
  std::vector<uint8_t> storage(static_cast<size_t>(depthwise_packed_bytes(c.layer, Isa::scalar)) + 64);
  uint8_t* packed = storage.data() + (64 - reinterpret_cast<uintptr_t>(storage.data()) % 64) % 64;
  for (int8_t& v : c.weight) v = 1;
  c.layer.x_zero_point = 0;
  c.bias[2] = 0x7fffffff - 9 * 255;
  EXPECT_TRUE(depthwise_pack(c.layer, Isa::scalar, packed));
  c.bias[2] += 1;
  EXPECT_FALSE(depthwise_pack(c.layer, Isa::scalar, packed));
}

TEST(Depthwise, KernelsChosen) {
  for (const Isa isa : supported_isas()) {
    SCOPED_TRACE(isa_name(isa));
    if (isa == Isa::scalar) continue;
    const bool slides = isa == Isa::avx512vnni;
    EXPECT_STREQ(depthwise_kernel(square(3, 1, 1), isa).name, slides ? "slide_3x3_s1" : "strip_3x3_s1");
    EXPECT_STREQ(depthwise_kernel(square(3, 2, 0), isa).name, slides ? "slide_3x3_s2" : "strip_3x3_s2");
    EXPECT_STREQ(depthwise_kernel(square(5, 1, 2), isa).name, "strip_5x5_s1");
    EXPECT_STREQ(depthwise_kernel(square(5, 2, 2), isa).name, "strip_5x5_s2");
    EXPECT_STREQ(depthwise_kernel(square(7, 1, 3), isa).name, "any");
    DepthwiseGeometry dilated = square(3, 1, 1);
    dilated.dilation_w = 2;
    EXPECT_STREQ(depthwise_kernel(dilated, isa).name, "any");
  }
}

}  // namespace
}  // namespace fxquant
