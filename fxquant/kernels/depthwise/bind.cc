// Packing of depthwise filters, and their steps.
#include "base/bind.h"

#include "base/packed.h"
#include "depthwise/depthwise.h"

namespace nb = nanobind;

namespace fxquant {
namespace {

DepthwiseGeometry geometry_of(const nb::tuple& g) {
  const auto at = [&](size_t i) { return nb::cast<int32_t>(g[i]); };
  return {at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7), at(8), at(9)};
}

// geometry: (kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, pad_bottom, pad_right, dilation_h, dilation_w).
int64_t packed_bytes(int32_t channels, const nb::tuple& geometry, int isa) {
  DepthwiseLayer layer;
  layer.channels = channels;
  layer.geometry = geometry_of(geometry);
  return depthwise_packed_bytes(layer, static_cast<Isa>(isa));
}

bool pack(uintptr_t weight, uintptr_t bias, uintptr_t multiplier, uintptr_t table, int32_t channels,
          const nb::tuple& geometry, int32_t x_zero_point, int32_t zero_point, int32_t quant_min, int32_t quant_max,
          bool has_residual, int32_t residual_zero_point, float residual_multiplier, uintptr_t packed, int isa) {
  DepthwiseLayer layer;
  layer.channels = channels;
  layer.geometry = geometry_of(geometry);
  layer.x_zero_point = x_zero_point;
  layer.output = {zero_point, quant_min, quant_max};
  layer.has_residual = has_residual;
  layer.residual = {residual_zero_point, residual_multiplier};
  layer.table = pointer<const uint8_t>(table);
  layer.weight = pointer<const int8_t>(weight);
  layer.bias = pointer<const int32_t>(bias);
  layer.multiplier = pointer<const float>(multiplier);
  return depthwise_pack(layer, static_cast<Isa>(isa), pointer<void>(packed));
}

// The packed layer at an address. Throws value_error unless it is whole, for this ISA and this input.
const PackedDepthwise& packed_layer(uintptr_t packed, int64_t packed_bytes, int isa, int64_t c, bool residual) {
  if (packed % alignof(PackedDepthwise) != 0) throw nb::value_error("packed is not aligned to 64 bytes; clone it");
  const PackedDepthwise& layer = *pointer<const PackedDepthwise>(packed);
  if (packed_bytes < static_cast<int64_t>(sizeof(PackedDepthwise)) || layer.magic != kDepthwiseMagic ||
      layer.size != packed_bytes || layer.checksum != header_checksum(layer))
    throw nb::value_error("packed is not what pack_depthwise_conv2d returns");
  if (static_cast<int>(layer.isa) != isa)
    throw nb::value_error("packed is for another instruction set: call pack_depthwise_conv2d again on this machine");
  if (layer.channels != c) throw nb::value_error("x has another number of channels than the packed filters");
  if ((layer.has_residual != 0) != residual)
    throw nb::value_error("a residual is needed if, and only if, the layer was packed with one");
  return layer;
}

Step run_step(const View& y, const View& x, const View& residual, int64_t row_begin, int64_t row_end, uintptr_t packed,
              int64_t packed_bytes, int isa) {
  const Nhwc<const uint8_t> from = images_of<const uint8_t>(x), added = images_of<const uint8_t>(residual);
  const Nhwc<uint8_t> to = images_of<uint8_t>(y);
  const PackedDepthwise& layer = packed_layer(packed, packed_bytes, isa, from.c, residual.present);
  const auto output_h = layer.transposed ? layer.geometry.output_w(from.h) : layer.geometry.output_h(from.h);
  const auto output_w = layer.transposed ? layer.geometry.output_h(from.w) : layer.geometry.output_w(from.w);
  if (output_h != to.h || output_w != to.w) throw nb::value_error("geometry is not the one that was packed");
  return [=, &layer, to_place = y.place, from_place = x.place, added_place = residual.place,
          has_residual = residual.present](const Frame& frame) {
    depthwise_run(layer, from.with(frame.at<const uint8_t>(from_place)),
                  added.with(has_residual ? frame.at<const uint8_t>(added_place) : nullptr),
                  to.with(frame.at<uint8_t>(to_place)), frame.threads, row_begin, row_end);
  };
}

}  // namespace

void bind_depthwise(nb::module_& m, ProgramClass& program) {
  m.def("depthwise_packed_bytes", packed_bytes);
  m.def("depthwise_pack", pack);
  m.def("depthwise_in_rows", [](uintptr_t packed) { return !pointer<const PackedDepthwise>(packed)->transposed; });
  bind_step(m, program, "depthwise_conv2d", run_step);
}

}  // namespace fxquant
