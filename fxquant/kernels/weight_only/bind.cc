// Packing, and the step of weight_only_linear.
#include "base/bind.h"

#include "weight_only/halves.h"
#include "weight_only/weight_only.h"

namespace nb = nanobind;

namespace fxquant {
namespace {

WeightOnlyWeights weights_of(int64_t inputs, int64_t outputs, int64_t group, int weight_bytes) {
  if (inputs < 1 || outputs < 1 || group < 1 || inputs % group != 0) {
    throw nb::value_error("no inputs, no outputs, or groups that do not divide the inputs");
  }
  WeightOnlyWeights w;
  w.inputs = inputs;
  w.outputs = outputs;
  w.group = group;
  w.weight_bytes = weight_bytes == 2 ? 2 : 1;
  return w;
}

void pack(uintptr_t packed, int64_t inputs, int64_t outputs, int64_t group, int weight_bytes, int isa, uintptr_t weight,
          uintptr_t scale, uintptr_t bias, double low, double high) {
  WeightOnlyWeights w = weights_of(inputs, outputs, group, weight_bytes);
  w.weight = pointer<const int8_t>(weight);
  w.halves = pointer<const uint16_t>(weight);
  w.scale = pointer<const float>(scale);
  w.bias = pointer<const float>(bias);
  w.output = {static_cast<float>(low), static_cast<float>(high)};
  const nb::gil_scoped_release released;
  pack_weight_only(w, static_cast<Isa>(isa), pointer<uint8_t>(packed));
}

WeightOnlyLinear params_of(uintptr_t packed, int64_t packed_bytes, int64_t rows, int64_t inputs, int64_t outputs,
                           int isa) {
  const auto& header = weight_only_header(pointer<const uint8_t>(packed), packed_bytes, static_cast<Isa>(isa));
  if (inputs != header.inputs) throw nb::value_error("the weights were packed for another in_features");
  if (outputs != header.outputs) throw nb::value_error("the weights were packed for another out_features");
  return {&header, rows, inputs, outputs};
}

// At once, for rows without gaps.
void linear_now(int threads, uintptr_t y, uintptr_t x, int64_t rows, int64_t inputs, int64_t outputs, uintptr_t packed,
                int64_t packed_bytes, int isa) {
  const WeightOnlyLinear p = params_of(packed, packed_bytes, rows, inputs, outputs, isa);
  const nb::gil_scoped_release released;
  weight_only_linear(p, pointer<float>(y), pointer<const float>(x), threads);
}

// x [rows, K] and y [rows, N], a row's elements side by side.
Step weight_only_step(const View& y, const View& x, uintptr_t packed, int64_t packed_bytes, int isa) {
  WeightOnlyLinear p = params_of(packed, packed_bytes, x.shape.at(0), x.shape.at(1), y.shape.at(1), isa);
  p.x_stride = x.strides[0];
  p.y_stride = y.strides[0];
  return [=, to = y.place, from = x.place](const Frame& frame) {
    weight_only_linear(p, frame.at<float>(to), frame.at<const float>(from), frame.threads);
  };
}

// The same of bfloat16, with scratch of weight_only_halves_scratch bytes.
void halves_now(int threads, uintptr_t y, uintptr_t x, int64_t rows, int64_t inputs, int64_t outputs, uintptr_t scratch,
                uintptr_t packed, int64_t packed_bytes, int isa) {
  const WeightOnlyLinear p = params_of(packed, packed_bytes, rows, inputs, outputs, isa);
  const nb::gil_scoped_release released;
  weight_only_halves(p, pointer<uint16_t>(y), pointer<const uint16_t>(x), pointer<uint8_t>(scratch), threads);
}

Step weight_only_halves_step(const View& y, const View& x, const View& scratch, uintptr_t packed, int64_t packed_bytes,
                             int isa) {
  WeightOnlyLinear p = params_of(packed, packed_bytes, x.shape.at(0), x.shape.at(1), y.shape.at(1), isa);
  p.x_stride = x.strides[0];
  p.y_stride = y.strides[0];
  return [=, to = y.place, from = x.place, memory = scratch.place, bytes = scratch.elements()](const Frame& frame) {
    if (bytes < weight_only_halves_scratch(p, frame.threads))
      throw std::invalid_argument("there is too little scratch");
    weight_only_halves(p, frame.at<uint16_t>(to), frame.at<const uint16_t>(from), frame.at<uint8_t>(memory),
                       frame.threads);
  };
}

int64_t halves_scratch(int threads, int64_t rows, int64_t inputs, int64_t outputs, uintptr_t packed,
                       int64_t packed_bytes, int isa) {
  return weight_only_halves_scratch(params_of(packed, packed_bytes, rows, inputs, outputs, isa), threads);
}

}  // namespace

void bind_weight_only(nb::module_& m, ProgramClass& program) {
  m.def("weight_only_packed_size", [](int64_t inputs, int64_t outputs, int64_t group, int weight_bytes, int isa) {
    return weight_only_size(weights_of(inputs, outputs, group, weight_bytes), static_cast<Isa>(isa));
  });
  m.def("weight_only_pack", &pack);
  m.def("weight_only_linear_now", &linear_now);
  m.def("weight_only_halves_scratch", &halves_scratch);
  m.def("weight_only_halves_now", &halves_now);
  bind_step(m, program, "weight_only_halves", weight_only_halves_step);
  bind_step(m, program, "weight_only_linear", weight_only_step);
}

}  // namespace fxquant
