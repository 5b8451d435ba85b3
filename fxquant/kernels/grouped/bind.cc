// Packing, and the step of grouped_linear.
#include "base/bind.h"

#include "dynamic/dynamic.h"
#include "grouped/grouped.h"

namespace nb = nanobind;

namespace fxquant {
namespace {

GroupedWeights weights_of(int64_t inputs, int64_t outputs, int64_t group) {
  if (inputs < 1 || outputs < 1 || group < 1) throw nb::value_error("no inputs, no outputs or no groups");
  GroupedWeights w;
  w.inputs = inputs;
  w.outputs = outputs;
  w.group = group;
  return w;
}

void pack(uintptr_t packed, int64_t inputs, int64_t outputs, int64_t group, int isa, uintptr_t weight,
          uintptr_t scale) {
  GroupedWeights w = weights_of(inputs, outputs, group);
  w.weight = pointer<const int8_t>(weight);
  w.scale = pointer<const float>(scale);
  const nb::gil_scoped_release released;
  pack_grouped(w, static_cast<Isa>(isa), pointer<uint8_t>(packed));
}

// y [rows, N], a row's elements side by side; bias float32 [N].
GroupedLinear params_of(const View& y, int64_t inputs, int64_t element, uintptr_t packed, int64_t packed_bytes,
                        uintptr_t bias, int isa) {
  GroupedLinear p;
  p.packed = &grouped_header(pointer<const uint8_t>(packed), packed_bytes, static_cast<Isa>(isa));
  if (inputs != p.packed->inputs) throw nb::value_error("the weights were packed for another in_features");
  if (y.shape.at(1) != p.packed->outputs) throw nb::value_error("the weights were packed for another out_features");
  p.rows = y.shape[0];
  p.y_stride = y.strides[0] * element;
  p.bias = pointer<const float>(bias);
  return p;
}

// x [rows, K].
Step grouped_linear_step(const View& y, const View& x, uintptr_t packed, int64_t packed_bytes, uintptr_t bias,
                         double multiplier, int x_zero_point, int zero_point, int quant_min, int quant_max, int isa) {
  GroupedLinear p = params_of(y, x.shape.at(1), 1, packed, packed_bytes, bias, isa);
  p.x_stride = x.strides[0];
  p.x_zero_point = x_zero_point;
  p.multiplier = static_cast<float>(multiplier);
  p.output = {zero_point, quant_min, quant_max};
  return [=, to = y.place, from = x.place](const Frame& frame) {
    grouped_linear(p, frame.at<uint8_t>(to), frame.at<const uint8_t>(from), frame.threads);
  };
}

// Codes of x [rows, depth] as of dynamic_rows; y is float32.
Step dynamic_grouped_step(const View& y, const View& codes, uintptr_t packed, int64_t packed_bytes, uintptr_t bias,
                          int64_t depth, float low, float high, int isa) {
  GroupedLinear p = params_of(y, depth, 4, packed, packed_bytes, bias, isa);
  if (codes.elements() < dynamic_scratch(p.rows, depth)) throw nb::value_error("there is too little scratch");
  p.bounds = {low, high};
  return [p, depth, to = y.place, from = codes.place](const Frame& frame) {
    const DynamicCodes in = dynamic_codes(frame.at<const uint8_t>(from), p.rows, depth);
    GroupedLinear own = p;
    own.x_stride = in.stride;
    own.terms = in.terms;
    grouped_linear(own, frame.at<uint8_t>(to), in.codes, frame.threads);
  };
}

}  // namespace

void bind_grouped(nb::module_& m, ProgramClass& program) {
  m.def("grouped_packed_size", [](int64_t inputs, int64_t outputs, int64_t group, int isa) {
    return grouped_size(weights_of(inputs, outputs, group), static_cast<Isa>(isa));
  });
  m.def("grouped_pack", &pack);
  bind_step(m, program, "grouped_linear", grouped_linear_step);
  bind_step(m, program, "dynamic_grouped", dynamic_grouped_step);
}

}  // namespace fxquant
