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

const PackedHeader& weights_at(uintptr_t packed, int64_t packed_bytes, int isa) {
  return packed_header(pointer<const uint8_t>(packed), packed_bytes, Layer::conv, static_cast<Isa>(isa));
}

int64_t scratch_size(const View& y, const View& x, uintptr_t packed, int64_t packed_bytes,
                     const std::vector<int64_t>& geometry, bool x_has_halo, int isa, int threads) {
  Conv conv;
  conv.packed = &weights_at(packed, packed_bytes, isa);
  conv.geometry = geometry_of(geometry);
  conv.x = images_of<const uint8_t>(x);
  conv.y = images_of<uint8_t>(y);
  conv.x_has_halo = x_has_halo;
  return conv_scratch_size(conv, threads);
}

Step conv2d_step(const View& y, const View& x, const View& residual, const View& scratch, int64_t row_begin,
                 int64_t row_end, uintptr_t packed, int64_t packed_bytes, uintptr_t next, int64_t next_bytes,
                 const std::vector<int64_t>& geometry, bool x_has_halo, int isa) {
  Conv conv;
  conv.packed = &weights_at(packed, packed_bytes, isa);
  conv.geometry = geometry_of(geometry);
  conv.x = images_of<const uint8_t>(x);
  conv.residual = images_of<const uint8_t>(residual);
  conv.y = images_of<uint8_t>(y);
  conv.x_has_halo = x_has_halo;
  conv.next = {pointer<const uint8_t>(next), next_bytes};
  conv.row_begin = row_begin;
  conv.row_end = row_end;
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
  m.def("conv2d_scratch_size", &scratch_size);
  bind_step(m, program, "conv2d", conv2d_step);
}

}  // namespace fxquant
