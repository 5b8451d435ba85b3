#include "base/bind.h"

#include "base/strided_bind.h"
#include "lookup/lookup.h"

namespace nb = nanobind;

namespace fxquant {
namespace {

void run(uintptr_t y, uintptr_t x, uintptr_t table, const nb::tuple& shape, const nb::tuple& y_strides,
         const nb::tuple& x_strides, int isa, int threads) {
  const Walk<2> walk = make_walk<2>(shape, {y_strides, x_strides});
  nb::gil_scoped_release release;
  lookup(walk, pointer<uint8_t>(y), pointer<const uint8_t>(x), pointer<const uint8_t>(table), static_cast<Isa>(isa),
         threads);
}

void run_per_channel(uintptr_t y, uintptr_t x, uintptr_t tables, const nb::tuple& shape, const nb::tuple& y_strides,
                     const nb::tuple& x_strides, const nb::tuple& table_strides, int isa, int threads) {
  const Walk<3> walk = make_walk<3>(shape, {y_strides, x_strides, table_strides});
  nb::gil_scoped_release release;
  lookup_per_channel(walk, pointer<uint8_t>(y), pointer<const uint8_t>(x), pointer<const uint8_t>(tables),
                     static_cast<Isa>(isa), threads);
}

}  // namespace

void bind_lookup(nb::module_& m) {
  m.def("lookup", run);
  m.def("lookup_per_channel", run_per_channel);
}

}  // namespace fxquant
