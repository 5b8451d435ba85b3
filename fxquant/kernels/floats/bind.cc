// Steps of floats.
#include "base/bind.h"

#include "floats/attention_step.h"

namespace nb = nanobind;

namespace fxquant {
namespace {

Step add_step(const View& y, const View& a, const View& b, int isa) {
  return
      [=, rows = rows_of(walk_of<3>({&y, &a, &b})), to = y.place, at_a = a.place, at_b = b.place](const Frame& frame) {
        float_add(rows, frame.at<float>(to), frame.at<const float>(at_a), frame.at<const float>(at_b),
                  static_cast<Isa>(isa), frame.threads);
      };
}

// [rows, length] both.
FloatRows float_rows(const View& y, const View& x) {
  expect(y.shape.size() == 2 && y.shape == x.shape);
  return {y.shape[0], y.shape[1], dense_rows(y), dense_rows(x)};
}

Step gelu_step(const View& y, const View& x, int isa) {
  return [=, rows = float_rows(y, x), to = y.place, from = x.place](const Frame& frame) {
    float_gelu(rows, frame.at<float>(to), frame.at<const float>(from), static_cast<Isa>(isa), frame.threads);
  };
}

Step layer_norm_step(const View& y, const View& x, uintptr_t weight, uintptr_t bias, float eps, int isa) {
  const FloatLayerNorm p = {float_rows(y, x), pointer<const float>(weight), pointer<const float>(bias), eps};
  return [=, to = y.place, from = x.place](const Frame& frame) {
    float_layer_norm(p, frame.at<float>(to), frame.at<const float>(from), static_cast<Isa>(isa), frame.threads);
  };
}

}  // namespace

void bind_floats(nb::module_& m, ProgramClass& program) {
  bind_step(m, program, "float_add", add_step);
  bind_step(m, program, "float_gelu", gelu_step);
  bind_step(m, program, "float_layer_norm", layer_norm_step);
  bind_attention<float_attention_scratch, float_attention>(m, program, "float_attention");
}

}  // namespace fxquant
