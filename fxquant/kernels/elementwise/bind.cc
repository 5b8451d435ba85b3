#include "base/bind.h"

#include "base/strided_bind.h"
#include "elementwise/elementwise.h"

namespace nb = nanobind;

namespace fxquant {
namespace {

void run_add(uintptr_t y, uintptr_t a, uintptr_t b, const nb::tuple& shape, const nb::tuple& y_strides,
             const nb::tuple& a_strides, const nb::tuple& b_strides, float a_multiplier, float b_multiplier,
             int a_zero_point, int b_zero_point, int zero_point, int quant_min, int quant_max, int isa, int threads) {
  const Walk<3> walk = make_walk<3>(shape, {y_strides, a_strides, b_strides});
  const Add params{a_multiplier, b_multiplier, a_zero_point, b_zero_point, {zero_point, quant_min, quant_max}};
  nb::gil_scoped_release release;
  add(walk, pointer<uint8_t>(y), pointer<const uint8_t>(a), pointer<const uint8_t>(b), params, static_cast<Isa>(isa),
      threads);
}

void run_mul(uintptr_t y, uintptr_t a, uintptr_t b, const nb::tuple& shape, const nb::tuple& y_strides,
             const nb::tuple& a_strides, const nb::tuple& b_strides, float multiplier, int a_zero_point,
             int b_zero_point, int zero_point, int quant_min, int quant_max, int isa, int threads) {
  const Walk<3> walk = make_walk<3>(shape, {y_strides, a_strides, b_strides});
  const Mul params{multiplier, a_zero_point, b_zero_point, {zero_point, quant_min, quant_max}};
  nb::gil_scoped_release release;
  mul(walk, pointer<uint8_t>(y), pointer<const uint8_t>(a), pointer<const uint8_t>(b), params, static_cast<Isa>(isa),
      threads);
}

}  // namespace

void bind_elementwise(nb::module_& m) {
  m.def("add", run_add);
  m.def("mul", run_mul);
}

}  // namespace fxquant
