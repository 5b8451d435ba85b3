// The step of dynamic_linear. Its weights are packed by gemm/.
#include "base/bind.h"

#include "dynamic/dynamic.h"

namespace nb = nanobind;

namespace fxquant {
namespace {

// x [rows, K], y [rows, N] and scratch of dynamic_scratch bytes.
Step dynamic_linear_step(const View& y, const View& x, const View& scratch, uintptr_t packed, int64_t packed_bytes,
                         uintptr_t next, int64_t next_bytes, bool by_row, int quant_min, int quant_max, int isa) {
  DynamicLinear p;
  p.packed = &packed_header(pointer<const uint8_t>(packed), packed_bytes, Layer::dynamic_linear, static_cast<Isa>(isa));
  if (x.shape.at(1) != p.packed->in_channels) throw nb::value_error("the weights were packed for another in_features");
  if (y.shape.at(1) != p.packed->out_channels) {
    throw nb::value_error("the weights were packed for another out_features");
  }
  p.rows = x.shape[0];
  p.x_stride = x.strides[0];
  p.y_stride = y.strides[0];
  p.by_row = by_row;
  p.levels = {quant_min, quant_max};
  if (scratch.elements() < dynamic_scratch(p.rows, p.packed->in_channels)) {
    throw nb::value_error("there is too little scratch");
  }
  return [=, to = y.place, from = x.place, memory = scratch.place](const Frame& frame) {
    dynamic_linear(p, frame.at<float>(to), frame.at<const float>(from), frame.at<uint8_t>(memory), frame.threads,
                   {pointer<const uint8_t>(next), next_bytes});
  };
}

}  // namespace

void bind_dynamic(nb::module_& m, ProgramClass& program) {
  m.def("dynamic_scratch", &dynamic_scratch);
  bind_step(m, program, "dynamic_linear", dynamic_linear_step);
}

}  // namespace fxquant
