// Packing of transformed weights; conv/bind.cc runs them.
#include "gemm/bind.h"

#include "winograd/winograd.h"

namespace nb = nanobind;

namespace fxquant {

void bind_winograd(nb::module_& m) {
  m.def("winograd_fits",
        [](const LayerWeights& layer, int isa) { return winograd_fits(layer, static_cast<Isa>(isa)); });
  m.def("winograd_pays", &winograd_pays);
  m.def("winograd_packed_size",
        [](const LayerWeights& layer, int isa) { return winograd_packed_size(layer, static_cast<Isa>(isa)); });
  m.def("winograd_pack", [](uintptr_t packed, const LayerWeights& layer, int isa) {
    const nb::gil_scoped_release released;
    pack_winograd(layer, static_cast<Isa>(isa), pointer<uint8_t>(packed));
    return -1;
  });
}

}  // namespace fxquant
