// Steps of what is quantized at run time: dynamic_linear, whose weights are packed by gemm/, and the inputs of
// convolutions.
#include "base/bind.h"

#include "dynamic/dynamic.h"
#include "dynamic/images.h"

namespace nb = nanobind;

namespace fxquant {
namespace {

// integer_bias: 0, or where biases lie, and then multipliers, and the two bounds.
DynamicLinear params_of(uintptr_t packed, int64_t packed_bytes, int64_t rows, int64_t depth, int64_t outputs,
                        bool by_row, int quant_min, int quant_max, uintptr_t integer_bias, int isa) {
  DynamicLinear p;
  p.packed = &packed_header(pointer<const uint8_t>(packed), packed_bytes, Layer::dynamic_linear, static_cast<Isa>(isa));
  if (depth != p.packed->in_channels) throw nb::value_error("the weights were packed for another in_features");
  if (outputs != p.packed->out_channels) throw nb::value_error("the weights were packed for another out_features");
  p.rows = rows;
  p.x_stride = depth;
  p.y_stride = outputs;
  p.by_row = by_row;
  p.levels = {quant_min, quant_max};
  if (integer_bias) {
    const auto* bias = pointer<const float>(integer_bias);
    p.integer_bias = {bias, bias + outputs, {bias[2 * outputs], bias[2 * outputs + 1]}};
  }
  return p;
}

void check_scratch(const View& scratch, int64_t rows, int64_t depth) {
  if (scratch.elements() < dynamic_scratch(rows, depth)) throw nb::value_error("there is too little scratch");
}

// x [rows, K], y [rows, N] and scratch of dynamic_scratch bytes.
Step dynamic_linear_step(const View& y, const View& x, const View& scratch, uintptr_t packed, int64_t packed_bytes,
                         uintptr_t next, int64_t next_bytes, bool by_row, int quant_min, int quant_max,
                         uintptr_t integer_bias, int isa) {
  DynamicLinear p = params_of(packed, packed_bytes, x.shape.at(0), x.shape.at(1), y.shape.at(1), by_row, quant_min,
                              quant_max, integer_bias, isa);
  p.x_stride = x.strides[0];
  p.y_stride = y.strides[0];
  check_scratch(scratch, p.rows, p.packed->in_channels);
  return [=, to = y.place, from = x.place, memory = scratch.place](const Frame& frame) {
    dynamic_linear(p, frame.at<float>(to), frame.at<const float>(from), frame.at<uint8_t>(memory), frame.threads,
                   {pointer<const uint8_t>(next), next_bytes});
  };
}

// x [rows, K] to codes of dynamic_scratch bytes, row by row.
RowStep dynamic_rows_step(const View& codes, const View& x, int quant_min, int quant_max, int isa) {
  const DynamicRows p = {x.shape.at(0), x.shape.at(1), x.strides.at(0), {quant_min, quant_max}};
  check_scratch(codes, p.rows, p.depth);
  return {p.rows, 5 * p.depth, [=, to = codes.place, from = x.place](const Frame& frame, int64_t begin, int64_t end) {
            dynamic_rows(p, frame.at<uint8_t>(to), frame.at<const float>(from), static_cast<Isa>(isa), begin, end);
          }};
}

// y [rows, N] of such codes.
Step dynamic_product_step(const View& y, const View& codes, uintptr_t packed, int64_t packed_bytes, uintptr_t next,
                          int64_t next_bytes, int64_t depth, uintptr_t integer_bias, int isa) {
  DynamicLinear p = params_of(packed, packed_bytes, y.shape.at(0), depth, y.shape.at(1), true, 0, 0, integer_bias, isa);
  p.y_stride = y.strides[0];
  check_scratch(codes, p.rows, depth);
  return [=, to = y.place, from = codes.place](const Frame& frame) {
    dynamic_product(p, frame.at<float>(to), frame.at<const uint8_t>(from), frame.threads,
                    {pointer<const uint8_t>(next), next_bytes});
  };
}

// Scratch of so many bytes lies on the stack of a call.
constexpr int64_t kOnStack = 1 << 14;

// The same at once, for rows without gaps; `scratch`: where kOnStack bytes are too few, else 0.
void linear_now(int threads, uintptr_t y, uintptr_t x, int64_t rows, int64_t depth, int64_t outputs, uintptr_t scratch,
                uintptr_t packed, int64_t packed_bytes, bool by_row, int quant_min, int quant_max,
                uintptr_t integer_bias, int isa) {
  const DynamicLinear p =
      params_of(packed, packed_bytes, rows, depth, outputs, by_row, quant_min, quant_max, integer_bias, isa);
  if (!scratch && dynamic_scratch(rows, depth) > kOnStack) throw nb::value_error("there is too little scratch");
  const nb::gil_scoped_release released;
  alignas(64) uint8_t local[kOnStack];
  dynamic_linear(p, pointer<float>(y), pointer<const float>(x), scratch ? pointer<uint8_t>(scratch) : local, threads);
}

// terms of x [N, ...]: sizeof(RowTerms) bytes each, without gaps.
void check_terms(const View& terms, int64_t examples) {
  const int64_t bytes = static_cast<int64_t>(sizeof(RowTerms));
  if (terms.elements() != examples * bytes)
    throw nb::value_error("there must be eight bytes of terms for each example");
}

Step terms_step(const View& terms, const View& x, const View& scratch, bool by_example, int quant_min, int quant_max,
                int isa) {
  check_terms(terms, x.shape.at(0));
  if (scratch.elements() < example_terms_scratch(x.shape[0])) throw nb::value_error("there is too little scratch");
  const Levels levels = {quant_min, quant_max};
  return [=, to = terms.place, from = x.place, memory = scratch.place,
          examples = Examples<1>(walk_of<1>({&x}))](const Frame& frame) {
    example_terms(examples, frame.at<RowTerms>(to), frame.at<const float>(from), frame.at<uint8_t>(memory), by_example,
                  levels, static_cast<Isa>(isa), frame.threads);
  };
}

Step codes_step(const View& q, const View& x, const View& terms, int quant_min, int quant_max, int isa) {
  check_terms(terms, x.shape.at(0));
  const Levels levels = {quant_min, quant_max};
  return [=, to = q.place, from = x.place, with = terms.place,
          examples = Examples<2>(walk_of<2>({&q, &x}))](const Frame& frame) {
    example_codes(examples, frame.at<uint8_t>(to), frame.at<const float>(from), frame.at<const RowTerms>(with), levels,
                  static_cast<Isa>(isa), frame.threads);
  };
}

Step zero_points_step(const View& y, const View& terms) {
  check_terms(terms, y.shape.at(0));
  return [to = y.place, with = terms.place, examples = Examples<1>(walk_of<1>({&y}))](const Frame& frame) {
    fill_zero_points(examples, frame.at<uint8_t>(to), frame.at<const RowTerms>(with), frame.threads);
  };
}

}  // namespace

void bind_dynamic(nb::module_& m, ProgramClass& program) {
  m.def("dynamic_scratch", [](int64_t rows, int64_t depth) { return dynamic_scratch(rows, depth); });
  m.attr("dynamic_on_stack") = kOnStack;
  m.def("dynamic_linear_now", &linear_now);
  m.def("dynamic_terms_scratch", [](int64_t examples) { return example_terms_scratch(examples); });
  bind_step(m, program, "dynamic_linear", dynamic_linear_step);
  bind_step(m, program, "dynamic_rows", dynamic_rows_step);
  bind_step(m, program, "dynamic_product", dynamic_product_step);
  bind_step(m, program, "dynamic_terms", terms_step);
  bind_step(m, program, "dynamic_codes", codes_step);
  bind_step(m, program, "dynamic_zero_points", zero_points_step);
}

}  // namespace fxquant
