// What the tests of convolutions share: problems, and a run of a kernel beside the reference.
#pragma once
#include <algorithm>
#include <string>
#include <vector>

#include "conv/conv.h"
#include "conv/reference.h"
#include "gemm/test_case.h"

namespace fxquant {

// Where a tensor lies: bytes between pixels, pixels between rows, rows between images.
struct Gaps {
  int64_t pixel = 0, row = 0, image = 0;
};

struct Problem {
  ConvGeometry geometry;
  int64_t n = 1, h = 1, w = 1, c = 1;
  Gaps x_gaps, y_gaps;
  bool residual = false, table = false, halo = false, floats = false;
  int threads = 1;
  int input = -1;  // the value of all inputs, or -1 for random ones
};

inline std::string text(const Problem& p) {
  const ConvGeometry& g = p.geometry;
  std::string s;
  for (const int64_t v : {p.n,
                          p.c,
                          p.h,
                          p.w,
                          g.out_channels,
                          g.kernel_h,
                          g.kernel_w,
                          g.stride_h,
                          g.stride_w,
                          g.pad_top,
                          g.pad_left,
                          g.pad_bottom,
                          g.pad_right,
                          g.dilation_h,
                          g.dilation_w,
                          g.groups,
                          p.x_gaps.pixel,
                          p.y_gaps.pixel,
                          int64_t{p.residual},
                          int64_t{p.table},
                          int64_t{p.halo},
                          int64_t{p.floats},
                          int64_t{p.threads}}) {
    s += std::to_string(v) + " ";
  }
  return s + "seed=" + std::to_string(test_seed());
}

template <class T>
Nhwc<T> view_of(int64_t n, int64_t h, int64_t w, int64_t c, const Gaps& gaps) {
  const int64_t stride_w = c + gaps.pixel, stride_h = (w + gaps.row) * stride_w, stride_n = (h + gaps.image) * stride_h;
  return {nullptr, n, h, w, c, stride_n, stride_h, stride_w};
}

// Bytes from the first element of `view` to its last.
template <class T>
size_t extent(const Nhwc<T>& view) {
  return static_cast<size_t>((view.n - 1) * view.stride_n + (view.h - 1) * view.stride_h +
                             (view.w - 1) * view.stride_w + view.c);
}

template <class T>
void randomize(Guarded<T>& buffer, Random& random, int fixed) {
  for (size_t i = 0; i < buffer.size(); ++i) buffer[i] = static_cast<T>(fixed < 0 ? random.integer(0, 255) : fixed);
}

// An input that ends at a guard page; with a halo it is the middle of a larger tensor full of the zero point.
class Input {
 public:
  Input(const Problem& p, int32_t zero_point, Random& random) : outer_(outer_view(p)), buffer_(extent(outer_)) {
    randomize(buffer_, random, p.halo ? zero_point : p.input);
    outer_.data = buffer_.data();
    const ConvGeometry& g = p.geometry;
    view = {outer_.at(0, p.halo ? g.pad_top : 0, p.halo ? g.pad_left : 0),
            p.n,
            p.h,
            p.w,
            p.c,
            outer_.stride_n,
            outer_.stride_h,
            outer_.stride_w};
    for (int64_t i = 0; p.halo && i < p.n * p.h * p.w * p.c; ++i) {
      const int64_t pixel = i / p.c;
      const uint8_t* at = view.at(pixel / p.w / p.h, pixel / p.w % p.h, pixel % p.w) + i % p.c;
      buffer_[static_cast<size_t>(at - buffer_.data())] = static_cast<uint8_t>(random.integer(0, 255));
    }
  }
  Nhwc<const uint8_t> view;

 private:
  static Nhwc<const uint8_t> outer_view(const Problem& p) {
    const ConvGeometry& g = p.geometry;
    const int64_t more_h = p.halo ? g.pad_top + g.pad_bottom : 0, more_w = p.halo ? g.pad_left + g.pad_right : 0;
    return view_of<const uint8_t>(p.n, p.h + more_h, p.w + more_w, p.c, p.x_gaps);
  }
  Nhwc<const uint8_t> outer_;
  Guarded<uint8_t> buffer_;
};

// The functions of a kernel, and whether it takes a problem.
struct ConvKernel {
  int64_t (*scratch_size)(const Conv& conv, int threads);
  void (*run)(const Conv& conv, int threads);
  bool (*fits)(const Conv& conv);
};

// The output: of floats, one channel after the other, its strides in bytes.
inline Nhwc<uint8_t> output_view(const Problem& p) {
  const int64_t h = p.geometry.output_h(p.h), w = p.geometry.output_w(p.w), c = p.geometry.out_channels;
  if (!p.floats) return view_of<uint8_t>(p.n, h, w, c, p.y_gaps);
  return {nullptr, p.n, h, w, c, 4 * c * h * w, 4 * w, 4};
}

inline void expect_reference(const Problem& p, TestLayer& test, Random& random, const ConvKernel& kernel) {
  SCOPED_TRACE(text(p));
  LayerWeights layer = p.floats ? test.float_weights() : test.weights();
  layer.layer = Layer::conv;
  layer.dense_w = p.geometry.dilation_w == 1;
  layer.has_residual = p.residual && !p.floats;
  layer.table = p.table && !p.floats ? test.table.data() : nullptr;
  const Input input(p, layer.x_zero_point, random);
  Conv conv;
  conv.geometry = p.geometry;
  conv.x = input.view;
  conv.x_has_halo = p.halo;
  conv.y = output_view(p);
  conv.y_stride_c = p.floats ? 4 * conv.y.h * conv.y.w : 1;
  const size_t bytes = p.floats ? static_cast<size_t>(conv.y.n * conv.y.stride_n) : extent(conv.y);
  Guarded<uint8_t> y(bytes), residual(bytes), expected(bytes);
  randomize(residual, random, -1);
  if (layer.has_residual) {
    conv.residual = {residual.data(), conv.y.n,        conv.y.h,        conv.y.w,
                     conv.y.c,        conv.y.stride_n, conv.y.stride_h, conv.y.stride_w};
  }
  expected.fill(kCanary);
  conv.y.data = expected.data();
  reference_conv(layer, p.geometry, conv.x, conv.residual, conv.y, conv.y_stride_c);
  conv.y.data = y.data();
  for (const Isa isa : supported_isas()) {
    SCOPED_TRACE(isa_name(isa));
    const Packed packed(layer, isa);
    ASSERT_EQ(packed.refused, -1);
    conv.packed = &packed_header(packed.data, packed.size, Layer::conv, isa);
    if (!kernel.fits(conv)) continue;
    Guarded<uint8_t> scratch(static_cast<size_t>(kernel.scratch_size(conv, p.threads)));
    randomize(scratch, random, -1);
    conv.scratch = scratch.data();
    conv.scratch_size = static_cast<int64_t>(scratch.size());
    y.fill(kCanary);
    kernel.run(conv, p.threads);
    for (size_t i = 0; i < y.size(); ++i) ASSERT_EQ(int{y[i]}, int{expected[i]}) << "at byte " << i;
  }
}

inline Problem problem(int64_t c, int64_t size, int64_t o, int64_t kernel, int64_t stride, int64_t pad,
                       int64_t groups = 1) {
  Problem p;
  p.geometry = {o, kernel, kernel, stride, stride, pad, pad, pad, pad, 1, 1, groups};
  p.c = c;
  p.h = p.w = size;
  return p;
}

// How the tensors lie in memory, what the epilogue does, and how many threads there are, all at random.
inline void choose_surroundings(Problem& p, Random& random) {
  const auto up_to = [&](int64_t high) { return random.integer(0, high); };
  if (up_to(1)) p.x_gaps = {up_to(5), up_to(2), up_to(2)};
  if (up_to(1)) p.y_gaps = {up_to(40), up_to(2), up_to(2)};
  p.residual = up_to(1);
  p.table = up_to(3) == 0;
  p.halo = up_to(2) == 0;
  p.floats = up_to(3) == 0;
  p.threads = static_cast<int>(1 + up_to(1));
}

}  // namespace fxquant
