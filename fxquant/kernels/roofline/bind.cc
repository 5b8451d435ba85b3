#include "base/bind.h"

#include "roofline/roofline.h"

namespace nb = nanobind;

namespace fxquant {

void bind_roofline(nb::module_& m) {
  m.def(
      "peak_multiply_adds", [](int isa, int threads) { return peak_multiply_adds(static_cast<Isa>(isa), threads); },
      nb::call_guard<nb::gil_scoped_release>());
  m.def("copy_bandwidth", copy_bandwidth, nb::call_guard<nb::gil_scoped_release>());
}

}  // namespace fxquant
