// Steps of add and mul. A broadcast operand is a view with strides of 0.
#include "base/bind.h"

#include "elementwise/elementwise.h"

namespace nb = nanobind;

namespace fxquant {
namespace {

Step add_step(const View& y, const View& a, const View& b, float a_multiplier, float b_multiplier, int a_zero_point,
              int b_zero_point, int zero_point, int quant_min, int quant_max, int isa) {
  const Add params{a_multiplier, b_multiplier, a_zero_point, b_zero_point, {zero_point, quant_min, quant_max}};
  return [=, to = y.place, at_a = a.place, at_b = b.place, walk = walk_of<3>({&y, &a, &b})](const Frame& frame) {
    add(walk, frame.at<uint8_t>(to), frame.at<const uint8_t>(at_a), frame.at<const uint8_t>(at_b), params,
        static_cast<Isa>(isa), frame.threads);
  };
}

Step mul_step(const View& y, const View& a, const View& b, float multiplier, int a_zero_point, int b_zero_point,
              int zero_point, int quant_min, int quant_max, int isa) {
  const Mul params{multiplier, a_zero_point, b_zero_point, {zero_point, quant_min, quant_max}};
  return [=, to = y.place, at_a = a.place, at_b = b.place, walk = walk_of<3>({&y, &a, &b})](const Frame& frame) {
    mul(walk, frame.at<uint8_t>(to), frame.at<const uint8_t>(at_a), frame.at<const uint8_t>(at_b), params,
        static_cast<Isa>(isa), frame.threads);
  };
}

}  // namespace

void bind_elementwise(nb::module_& m, ProgramClass& program) {
  bind_step(m, program, "add", add_step);
  bind_step(m, program, "mul", mul_step);
}

}  // namespace fxquant
