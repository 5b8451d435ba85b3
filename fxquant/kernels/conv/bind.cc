#include "base/bind.h"

#include "conv/conv.h"

namespace nb = nanobind;

namespace fxquant {
namespace {

// The sizes of a call, in the order in which Python passes them: x is dense, channels last.
Conv conv_of(int64_t n, int64_t c, int64_t h, int64_t w, const ConvGeometry& g) {
  Conv conv;
  conv.geometry = g;
  conv.x = {nullptr, n, h, w, c, h * w * c, w * c, c};
  const int64_t oh = g.output_h(h), ow = g.output_w(w), o = g.out_channels;
  conv.y = {nullptr, n, oh, ow, o, oh * ow * o, ow * o, o};
  conv.residual = {nullptr, n, oh, ow, o, oh * ow * o, ow * o, o};
  return conv;
}

int64_t scratch_size(int64_t n, int64_t c, int64_t h, int64_t w, int64_t out_channels, int64_t kernel_h,
                     int64_t kernel_w, int64_t stride_h, int64_t stride_w, int64_t pad_top, int64_t pad_left,
                     int64_t pad_bottom, int64_t pad_right, int64_t dilation_h, int64_t dilation_w, int64_t groups) {
  const ConvGeometry g = {out_channels, kernel_h,   kernel_w,  stride_h,   stride_w,   pad_top,
                          pad_left,     pad_bottom, pad_right, dilation_h, dilation_w, groups};
  return conv_scratch_size(conv_of(n, c, h, w, g));
}

void conv2d(uintptr_t x, uintptr_t residual, uintptr_t y, uintptr_t scratch, int threads, uintptr_t packed,
            int64_t packed_bytes, int isa, int64_t n, int64_t c, int64_t h, int64_t w, int64_t out_channels,
            int64_t kernel_h, int64_t kernel_w, int64_t stride_h, int64_t stride_w, int64_t pad_top, int64_t pad_left,
            int64_t pad_bottom, int64_t pad_right, int64_t dilation_h, int64_t dilation_w, int64_t groups) {
  const ConvGeometry g = {out_channels, kernel_h,   kernel_w,  stride_h,   stride_w,   pad_top,
                          pad_left,     pad_bottom, pad_right, dilation_h, dilation_w, groups};
  Conv conv = conv_of(n, c, h, w, g);
  conv.packed = &packed_header(pointer<const uint8_t>(packed), packed_bytes, Layer::conv, static_cast<Isa>(isa));
  conv.x.data = pointer<const uint8_t>(x);
  conv.residual.data = pointer<const uint8_t>(residual);
  conv.y.data = pointer<uint8_t>(y);
  conv.scratch = pointer<uint8_t>(scratch);
  const nb::gil_scoped_release released;
  run_conv(conv, threads);
}

}  // namespace

void bind_conv(nb::module_& m) {
  m.def("conv2d_scratch_size", &scratch_size);
  m.def("conv2d", &conv2d);
}

}  // namespace fxquant
