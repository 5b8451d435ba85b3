// The step of dynamic_matmul.
#include "dynamic_matmul/dynamic_matmul.h"
#include "matmul/steps.h"

namespace nb = nanobind;

namespace fxquant {
namespace {

DynamicMatmul dynamic_matmul_of(const View& y, const View& a, const View& b) {
  DynamicMatmul p;
  static_cast<MatmulLayout&>(p) = layout_of(y, a, b);
  return p;
}

Step dynamic_matmul_step(const View& y, const View& a, const View& b, const View& scratch, float scale, int isa) {
  DynamicMatmul p = dynamic_matmul_of(y, a, b);
  p.scale = scale;
  const auto on = static_cast<Isa>(isa);
  return matmul_step_of<float>(p, y, a, b, scratch, dynamic_matmul_scratch(p, on), on, dynamic_matmul);
}

}  // namespace

void bind_dynamic_matmul(nb::module_& m, ProgramClass& program) {
  m.def("dynamic_matmul_scratch_size", [](const View& y, const View& a, const View& b, int isa) {
    return dynamic_matmul_scratch(dynamic_matmul_of(y, a, b), static_cast<Isa>(isa));
  });
  bind_step(m, program, "dynamic_matmul", dynamic_matmul_step);
}

}  // namespace fxquant
