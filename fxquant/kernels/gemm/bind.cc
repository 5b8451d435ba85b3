#include "base/bind.h"

#include "gemm/gemm.h"

namespace nb = nanobind;

namespace fxquant {
namespace {

LayerWeights dimensions(int layer, int64_t in_channels, int64_t out_channels, int64_t kernel_h, int64_t kernel_w,
                        int64_t groups, bool dense_w) {
  LayerWeights w;
  w.layer = static_cast<Layer>(layer);
  w.in_channels = in_channels;
  w.out_channels = out_channels;
  w.kernel_h = kernel_h;
  w.kernel_w = kernel_w;
  w.groups = groups;
  w.dense_w = dense_w;
  return w;
}

int64_t pack(uintptr_t packed, int layer, int64_t in_channels, int64_t out_channels, int64_t kernel_h, int64_t kernel_w,
             int64_t groups, bool dense_w, int isa, uintptr_t weight, uintptr_t bias, uintptr_t multiplier,
             uintptr_t table, int x_zero_point, int zero_point, int quant_min, int quant_max, bool has_residual,
             int residual_zero_point, float residual_multiplier) {
  LayerWeights w = dimensions(layer, in_channels, out_channels, kernel_h, kernel_w, groups, dense_w);
  w.weight = pointer<const int8_t>(weight);
  w.bias = pointer<const int32_t>(bias);
  w.multiplier = pointer<const float>(multiplier);
  w.table = pointer<const uint8_t>(table);
  w.x_zero_point = x_zero_point;
  w.output = {zero_point, quant_min, quant_max};
  w.has_residual = has_residual;
  w.residual = {residual_zero_point, residual_multiplier};
  const nb::gil_scoped_release released;
  return pack_product(w, static_cast<Isa>(isa), pointer<uint8_t>(packed));
}

void run_linear(uintptr_t packed, int64_t packed_bytes, uintptr_t x, uintptr_t residual, uintptr_t y, int64_t rows,
                int64_t in_features, int64_t out_features, int isa, int threads) {
  const PackedHeader& header =
      packed_header(pointer<const uint8_t>(packed), packed_bytes, Layer::linear, static_cast<Isa>(isa));
  if (rows == 0) return;  // tensors without elements have no address to check
  if (header.in_channels != in_features) throw nb::value_error("the weights were packed for another in_features");
  if (header.out_channels != out_features) throw nb::value_error("the weights were packed for another out_features");
  if ((residual != 0) != (header.has_residual != 0)) {
    throw nb::value_error("a residual must be given exactly if the weights were packed for one");
  }
  const nb::gil_scoped_release released;
  linear(header, pointer<const uint8_t>(x), rows, in_features, pointer<const uint8_t>(residual), out_features,
         pointer<uint8_t>(y), out_features, threads);
}

}  // namespace

void bind_gemm(nb::module_& m) {
  m.def("product_packed_size", [](int layer, int64_t in_channels, int64_t out_channels, int64_t kernel_h,
                                  int64_t kernel_w, int64_t groups, bool dense_w, int isa) {
    return packed_size(dimensions(layer, in_channels, out_channels, kernel_h, kernel_w, groups, dense_w),
                       static_cast<Isa>(isa));
  });
  m.def("product_pack", &pack);
  m.def("linear", &run_linear);
}

}  // namespace fxquant
