// Steps of conv2d, and the scratch that they need.
#include "base/bind.h"

#include <vector>

#include "conv/conv.h"

namespace nb = nanobind;

namespace fxquant {
namespace {

// The fields of Python's ConvGeometry, in order.
ConvGeometry geometry_of(const std::vector<int64_t>& g) {
  if (g.size() != 12) throw nb::value_error("a convolution's geometry has twelve numbers");
  return {g[0], g[1], g[2], g[3], g[4], g[5], g[6], g[7], g[8], g[9], g[10], g[11]};
}

// What a run writes: bytes or, in any order of dimensions, floats.
void set_output(Conv& conv, const View& y) {
  if (!conv.packed->gives_floats) {
    conv.y = images_of<uint8_t>(y);
    return;
  }
  if (y.shape.size() != 4) throw nb::value_error("an image tensor has four dimensions");
  const auto stride = [&](size_t dim) { return y.strides[dim] * conv.packed->output_size(); };
  conv.y = {nullptr, y.shape[0], y.shape[2], y.shape[3], y.shape[1], stride(0), stride(2), stride(3)};
  conv.y_stride_c = stride(1);
  // Torch leaves any number as the stride of a single element: one that keeps rows at one distance.
  if (conv.y.h == 1) conv.y.stride_h = conv.y.w == 1 ? conv.y.stride_n : conv.y.w * conv.y.stride_w;
  if (conv.y.w == 1) conv.y.stride_w = conv.y.stride_h;
}

template <Layer kLayer>
const PackedHeader& weights_at(uintptr_t packed, int64_t packed_bytes, int isa) {
  return packed_header(pointer<const uint8_t>(packed), packed_bytes, kLayer, static_cast<Isa>(isa));
}

// RowTerms of y's images: [N, 1, OH, OW] with strides in bytes, 0 within an image.
Nhwc<const uint8_t> terms_of(const View& v, const View& y) {
  if (!v.present || v.shape.size() != 4 || v.shape[0] != y.shape[0] || v.strides[2] != 0 || v.strides[3] != 0) {
    throw nb::value_error("conv2d: there must be terms for each image");
  }
  return {nullptr, y.shape[0], y.shape[2], y.shape[3], 1, v.strides[0], 0, 0};
}

template <Layer kLayer>
int64_t scratch_size(const View& y, const View& x, uintptr_t packed, int64_t packed_bytes,
                     const std::vector<int64_t>& geometry, bool x_has_halo, int isa, int threads) {
  Conv conv;
  conv.packed = &weights_at<kLayer>(packed, packed_bytes, isa);
  conv.geometry = geometry_of(geometry);
  conv.x = images_of<const uint8_t>(x);
  set_output(conv, y);
  conv.x_has_halo = x_has_halo;
  return conv_scratch_size(conv, threads);
}

template <Layer kLayer>
Step conv2d_step(const View& y, const View& x, const View& residual, const View& scratch, int64_t row_begin,
                 int64_t row_end, uintptr_t packed, int64_t packed_bytes, uintptr_t next, int64_t next_bytes,
                 const std::vector<int64_t>& geometry, bool x_has_halo, bool gives_floats, int isa) {
  Conv conv;
  conv.packed = &weights_at<kLayer>(packed, packed_bytes, isa);
  if (gives_floats != (conv.packed->gives_floats != 0)) {
    throw nb::value_error("conv2d: the weights were packed for another output");
  }
  conv.geometry = geometry_of(geometry);
  conv.x = images_of<const uint8_t>(x);
  conv.residual = is_dynamic(kLayer) ? terms_of(residual, y) : images_of<const uint8_t>(residual);
  set_output(conv, y);
  conv.x_has_halo = x_has_halo;
  conv.next = {pointer<const uint8_t>(next), next_bytes};
  conv.row_begin = row_begin;
  conv.row_end = row_end;
  conv.scratch_size = scratch.elements();
  check_conv(*conv.packed, conv.geometry, conv.x.c, residual.present);
  return [=, to = y.place, from = x.place, add = residual.place, has_residual = residual.present,
          temporary = scratch.place, has_scratch = scratch.present](const Frame& frame) {
    Conv call = conv;
    call.x.data = frame.at<const uint8_t>(from);
    call.y.data = frame.at<uint8_t>(to);
    if (has_residual) call.residual.data = frame.at<const uint8_t>(add);
    if (has_scratch) call.scratch = frame.at<uint8_t>(temporary);
    run_conv(call, frame.threads);
  };
}

}  // namespace

void bind_conv(nb::module_& m, ProgramClass& program) {
  m.def("conv2d_scratch_size", &scratch_size<Layer::conv>);
  m.def("dynamic_conv2d_scratch_size", &scratch_size<Layer::dynamic_conv>);
  bind_step(m, program, "conv2d", conv2d_step<Layer::conv>);
  bind_step(m, program, "dynamic_conv2d", conv2d_step<Layer::dynamic_conv>);
}

}  // namespace fxquant
