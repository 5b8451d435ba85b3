#include "gemm/bind.h"

namespace nb = nanobind;

namespace fxquant {
namespace {

int64_t size_of(const LayerWeights& layer, int isa) { return packed_size(layer, static_cast<Isa>(isa)); }

int64_t pack(uintptr_t packed, const LayerWeights& layer, int isa) {
  const nb::gil_scoped_release released;
  return pack_product(layer, static_cast<Isa>(isa), pointer<uint8_t>(packed));
}

// x [rows, K], y and residual [rows, N], a row's elements side by side.
Step linear_step(const View& y, const View& x, const View& residual, uintptr_t packed, int64_t packed_bytes,
                 uintptr_t next, int64_t next_bytes, int isa) {
  const PackedHeader& header =
      packed_header(pointer<const uint8_t>(packed), packed_bytes, Layer::linear, static_cast<Isa>(isa));
  if (x.shape.at(1) != header.in_channels) throw nb::value_error("the weights were packed for another in_features");
  if (y.shape.at(1) != header.out_channels) throw nb::value_error("the weights were packed for another out_features");
  if (residual.present != (header.has_residual != 0)) {
    throw nb::value_error("a residual must be given exactly if the weights were packed for one");
  }
  const int64_t x_stride = x.strides[0], y_stride = y.strides[0], r_stride = residual.present ? residual.strides[0] : 0;
  return [=, &header, rows = x.shape[0], to = y.place, from = x.place, added = residual.place,
          has_residual = residual.present](const Frame& frame) {
    linear(header, frame.at<const uint8_t>(from), rows, x_stride,
           has_residual ? frame.at<const uint8_t>(added) : nullptr, r_stride, frame.at<uint8_t>(to), y_stride,
           frame.threads, {pointer<const uint8_t>(next), next_bytes});
  };
}

}  // namespace

void bind_gemm(nb::module_& m, ProgramClass& program) {
  m.def("product_packed_size", &size_of);
  m.def("product_pack", &pack);
  bind_step(m, program, "linear", linear_step);
}

}  // namespace fxquant
