#include "base/bind.h"

#include "gemm/gemm.h"

namespace nb = nanobind;

namespace fxquant {
namespace {

LayerWeights dimensions(int layer, int64_t in_channels, int64_t out_channels, int64_t kernel_h, int64_t kernel_w,
                        int64_t groups, bool dense_w, bool gives_floats) {
  LayerWeights w;
  w.layer = static_cast<Layer>(layer);
  w.in_channels = in_channels;
  w.out_channels = out_channels;
  w.kernel_h = kernel_h;
  w.kernel_w = kernel_w;
  w.groups = groups;
  w.dense_w = dense_w;
  w.gives_floats = gives_floats;
  return w;
}

int64_t pack(uintptr_t packed, int layer, int64_t in_channels, int64_t out_channels, int64_t kernel_h, int64_t kernel_w,
             int64_t groups, bool dense_w, bool gives_floats, int isa, uintptr_t weight, uintptr_t bias,
             uintptr_t multiplier, uintptr_t table, int x_zero_point, int zero_point, int quant_min, int quant_max,
             bool has_residual, int residual_zero_point, float residual_multiplier, uintptr_t float_bias, float low,
             float high) {
  LayerWeights w = dimensions(layer, in_channels, out_channels, kernel_h, kernel_w, groups, dense_w, gives_floats);
  w.weight = pointer<const int8_t>(weight);
  w.bias = pointer<const int32_t>(bias);
  w.multiplier = pointer<const float>(multiplier);
  w.table = pointer<const uint8_t>(table);
  w.x_zero_point = x_zero_point;
  w.output = {zero_point, quant_min, quant_max};
  w.has_residual = has_residual;
  w.residual = {residual_zero_point, residual_multiplier};
  w.float_bias = pointer<const float>(float_bias);
  w.float_output = {low, high};
  const nb::gil_scoped_release released;
  return pack_product(w, static_cast<Isa>(isa), pointer<uint8_t>(packed));
}

// x [rows, K], y and residual [rows, N], a row's elements side by side. `gives_floats`: what y is.
Step linear_step(const View& y, const View& x, const View& residual, uintptr_t packed, int64_t packed_bytes,
                 uintptr_t next, int64_t next_bytes, bool gives_floats, int isa) {
  const PackedHeader& header =
      packed_header(pointer<const uint8_t>(packed), packed_bytes, Layer::linear, static_cast<Isa>(isa));
  if (x.shape.at(1) != header.in_channels) throw nb::value_error("the weights were packed for another in_features");
  if (y.shape.at(1) != header.out_channels) throw nb::value_error("the weights were packed for another out_features");
  if (residual.present != (header.has_residual != 0)) {
    throw nb::value_error("a residual must be given exactly if the weights were packed for one");
  }
  if (gives_floats != (header.gives_floats != 0)) throw nb::value_error("the weights were packed for another output");
  const int64_t x_stride = x.strides[0], y_stride = y.strides[0] * header.output_size();
  const int64_t r_stride = residual.present ? residual.strides[0] : 0;
  return [=, &header, rows = x.shape[0], to = y.place, from = x.place, added = residual.place,
          has_residual = residual.present](const Frame& frame) {
    linear(header, frame.at<const uint8_t>(from), rows, x_stride,
           has_residual ? frame.at<const uint8_t>(added) : nullptr, r_stride, frame.at<uint8_t>(to), y_stride,
           frame.threads, {pointer<const uint8_t>(next), next_bytes});
  };
}

}  // namespace

void bind_gemm(nb::module_& m, ProgramClass& program) {
  m.def("product_packed_size", [](int layer, int64_t in_channels, int64_t out_channels, int64_t kernel_h,
                                  int64_t kernel_w, int64_t groups, bool dense_w, bool gives_floats, int isa) {
    return packed_size(dimensions(layer, in_channels, out_channels, kernel_h, kernel_w, groups, dense_w, gives_floats),
                       static_cast<Isa>(isa));
  });
  m.def("product_pack", &pack);
  bind_step(m, program, "linear", linear_step);
}

}  // namespace fxquant
