// The step of dynamic_linear. Its weights are packed by gemm/.
#include "base/bind.h"

#include "dynamic/dynamic.h"

namespace nb = nanobind;

namespace fxquant {
namespace {

DynamicLinear params_of(uintptr_t packed, int64_t packed_bytes, int64_t rows, int64_t depth, int64_t outputs,
                        bool by_row, int quant_min, int quant_max, int isa) {
  DynamicLinear p;
  p.packed = &packed_header(pointer<const uint8_t>(packed), packed_bytes, Layer::dynamic_linear, static_cast<Isa>(isa));
  if (depth != p.packed->in_channels) throw nb::value_error("the weights were packed for another in_features");
  if (outputs != p.packed->out_channels) throw nb::value_error("the weights were packed for another out_features");
  p.rows = rows;
  p.x_stride = depth;
  p.y_stride = outputs;
  p.by_row = by_row;
  p.levels = {quant_min, quant_max};
  return p;
}

// x [rows, K], y [rows, N] and scratch of dynamic_scratch bytes.
Step dynamic_linear_step(const View& y, const View& x, const View& scratch, uintptr_t packed, int64_t packed_bytes,
                         uintptr_t next, int64_t next_bytes, bool by_row, int quant_min, int quant_max, int isa) {
  DynamicLinear p =
      params_of(packed, packed_bytes, x.shape.at(0), x.shape.at(1), y.shape.at(1), by_row, quant_min, quant_max, isa);
  p.x_stride = x.strides[0];
  p.y_stride = y.strides[0];
  if (scratch.elements() < dynamic_scratch(p.rows, p.packed->in_channels)) {
    throw nb::value_error("there is too little scratch");
  }
  return [=, to = y.place, from = x.place, memory = scratch.place](const Frame& frame) {
    dynamic_linear(p, frame.at<float>(to), frame.at<const float>(from), frame.at<uint8_t>(memory), frame.threads,
                   {pointer<const uint8_t>(next), next_bytes});
  };
}

// Scratch of so many bytes lies on the stack of a call.
constexpr int64_t kOnStack = 1 << 14;

// The same at once, for rows without gaps; `scratch`: where kOnStack bytes are too few, else 0.
void linear_now(int threads, uintptr_t y, uintptr_t x, int64_t rows, int64_t depth, int64_t outputs, uintptr_t scratch,
                uintptr_t packed, int64_t packed_bytes, bool by_row, int quant_min, int quant_max, int isa) {
  const DynamicLinear p = params_of(packed, packed_bytes, rows, depth, outputs, by_row, quant_min, quant_max, isa);
  if (!scratch && dynamic_scratch(rows, depth) > kOnStack) throw nb::value_error("there is too little scratch");
  const nb::gil_scoped_release released;
  alignas(64) uint8_t local[kOnStack];
  dynamic_linear(p, pointer<float>(y), pointer<const float>(x), scratch ? pointer<uint8_t>(scratch) : local, threads);
}

}  // namespace

void bind_dynamic(nb::module_& m, ProgramClass& program) {
  m.def("dynamic_scratch", [](int64_t rows, int64_t depth) { return dynamic_scratch(rows, depth); });
  m.attr("dynamic_on_stack") = kOnStack;
  m.def("dynamic_linear_now", &linear_now);
  bind_step(m, program, "dynamic_linear", dynamic_linear_step);
}

}  // namespace fxquant
