// Steps of operations on two tensors. A broadcast operand is a view with strides of 0.
#include "base/bind.h"

#include "elementwise/elementwise.h"

namespace nb = nanobind;

namespace fxquant {
namespace {

template <auto kRun, class Params>
Step step(const View& y, const View& a, const View& b, const Params& params, int isa) {
  return [=, to = y.place, at_a = a.place, at_b = b.place, walk = walk_of<3>({&y, &a, &b})](const Frame& frame) {
    kRun(walk, frame.at<uint8_t>(to), frame.at<const uint8_t>(at_a), frame.at<const uint8_t>(at_b), params,
         static_cast<Isa>(isa), frame.threads);
  };
}

// Two products that meet: Add, Maximum and Minimum.
template <auto kRun, class Params>
Step both_scaled(const View& y, const View& a, const View& b, float a_multiplier, float b_multiplier, int a_zero_point,
                 int b_zero_point, int zero_point, int quant_min, int quant_max, int isa) {
  Params params;
  static_cast<Add&>(params) = {
      a_multiplier, b_multiplier, a_zero_point, b_zero_point, {zero_point, quant_min, quant_max}};
  return step<kRun>(y, a, b, params, isa);
}

// One multiplier: Mul and Div.
template <auto kRun, class Params>
Step scaled(const View& y, const View& a, const View& b, float multiplier, int a_zero_point, int b_zero_point,
            int zero_point, int quant_min, int quant_max, int isa) {
  Params params;
  params.multiplier = multiplier;
  params.a_zero_point = a_zero_point;
  params.b_zero_point = b_zero_point;
  params.output = {zero_point, quant_min, quant_max};
  return step<kRun>(y, a, b, params, isa);
}

}  // namespace

void bind_elementwise(nb::module_& m, ProgramClass& program) {
  bind_step(m, program, "add", both_scaled<add, Add>);
  bind_step(m, program, "maximum", both_scaled<maximum, Maximum>);
  bind_step(m, program, "minimum", both_scaled<minimum, Minimum>);
  bind_step(m, program, "mul", scaled<mul, Mul>);
  bind_step(m, program, "div", scaled<div, Div>);
}

}  // namespace fxquant
