// What a family's bind.cc needs: views from Python, and one function for a step's two ways to be called.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <utility>

#include "base/isa.h"
#include "base/view.h"

namespace nanobind::detail {

// A view is (base, offset, shape, strides), as of Place and View, or () for none.
template <>
struct type_caster<fxquant::View> {
  NB_TYPE_CASTER(fxquant::View, const_name("View"))

  bool from_python(handle source, uint8_t, cleanup_list*) noexcept {
    if (!isinstance<nanobind::tuple>(source)) return false;
    const auto view = borrow<nanobind::tuple>(source);
    if (view.size() == 0) return true;
    if (view.size() != 4) return false;
    value.present = true;
    return try_cast(view[0], value.place.base) && try_cast(view[1], value.place.offset) &&
           try_cast(view[2], value.shape) && try_cast(view[3], value.strides) &&
           value.shape.size() == value.strides.size();
  }
};

}  // namespace nanobind::detail

namespace fxquant {

using ProgramClass = nanobind::class_<Program>;

template <class T>
T* pointer(uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

inline Step alone(Step step) { return step; }
inline Step alone(RowStep step) { return step_of({std::move(step)}); }

// `make` builds a step from views and constants. Python gets it twice: as a function of the module, which takes the
// number of threads before them and runs the step at once, and as a method of Program, which appends it.
template <class Made, class... Args>
void bind_step(nanobind::module_& m, ProgramClass& program, const char* name, Made (*make)(Args...)) {
  m.def(name, [make](int threads, Args... args) {
    const Step step = alone(make(std::forward<Args>(args)...));
    const nanobind::gil_scoped_release released;
    step({nullptr, threads});
  });
  program.def(name, [make](Program& p, Args... args) { p.add(make(std::forward<Args>(args)...)); });
}

}  // namespace fxquant
