#include "base/bind.h"

#include "base/strided_bind.h"
#include "quantize/quantize.h"

namespace nb = nanobind;

namespace fxquant {
namespace {

void run_quantize(uintptr_t y, uintptr_t x, const nb::tuple& shape, const nb::tuple& y_strides,
                  const nb::tuple& x_strides, float scale, int zero_point, int quant_min, int quant_max, int isa,
                  int threads) {
  const Walk<2> walk = make_walk<2>(shape, {y_strides, x_strides});
  const Quantize params{scale, {zero_point, quant_min, quant_max}};
  nb::gil_scoped_release release;
  quantize(walk, pointer<uint8_t>(y), pointer<const float>(x), params, static_cast<Isa>(isa), threads);
}

void run_dequantize(uintptr_t y, uintptr_t x, const nb::tuple& shape, const nb::tuple& y_strides,
                    const nb::tuple& x_strides, float scale, int zero_point, int isa, int threads) {
  const Walk<2> walk = make_walk<2>(shape, {y_strides, x_strides});
  nb::gil_scoped_release release;
  dequantize(walk, pointer<float>(y), pointer<const uint8_t>(x), {scale, zero_point}, static_cast<Isa>(isa), threads);
}

}  // namespace

void bind_quantize(nb::module_& m) {
  m.def("quantize", run_quantize);
  m.def("dequantize", run_dequantize);
}

}  // namespace fxquant
