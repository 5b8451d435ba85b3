// The extension module fxquant._kernels: every family adds its functions.
#include "base/bind.h"

#include <nanobind/stl/string.h>

namespace nb = nanobind;

namespace fxquant {
void bind_gemm(nb::module_& m);
void bind_conv(nb::module_& m);
void bind_depthwise(nb::module_& m);
void bind_elementwise(nb::module_& m);
void bind_pool(nb::module_& m);
void bind_resize(nb::module_& m);
void bind_lookup(nb::module_& m);
void bind_quantize(nb::module_& m);
void bind_roofline(nb::module_& m);
}  // namespace fxquant

NB_MODULE(_kernels, m) {
  using namespace fxquant;
  m.def("isa_name", [](int isa) { return std::string(isa_name(static_cast<Isa>(isa))); });
  m.def("isa_supported", [](int isa) { return isa_supported(static_cast<Isa>(isa)); });
  m.def("best_isa", [] { return static_cast<int>(best_isa()); });
  m.attr("isa_count") = kIsaCount;
  bind_gemm(m);
  bind_conv(m);
  bind_depthwise(m);
  bind_elementwise(m);
  bind_pool(m);
  bind_resize(m);
  bind_lookup(m);
  bind_quantize(m);
  bind_roofline(m);
}
