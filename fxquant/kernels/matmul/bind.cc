// Steps of matmul and attention.
#include "matmul/steps.h"

namespace nb = nanobind;

namespace fxquant {
namespace {

Matmul matmul_of(const View& y, const View& a, const View& b) {
  Matmul p;
  static_cast<MatmulLayout&>(p) = layout_of(y, a, b);
  return p;
}

Step matmul_step(const View& y, const View& a, const View& b, const View& scratch, float multiplier, int a_zero_point,
                 int b_zero_point, int zero_point, int quant_min, int quant_max, int isa) {
  Matmul p = matmul_of(y, a, b);
  p.multiplier = multiplier;
  p.a_zero_point = a_zero_point;
  p.b_zero_point = b_zero_point;
  p.output = {zero_point, quant_min, quant_max};
  const auto on = static_cast<Isa>(isa);
  return matmul_step_of<uint8_t>(p, y, a, b, scratch, matmul_scratch(p, on), on, matmul);
}

Attention attention_of(const View& y, const View& q, const View& k, const View& v, const View& mask, bool bools) {
  Attention p;
  static_cast<AttentionLayout&>(p) = layout_of(y, q, k, v, mask, bools);
  return p;
}

Step attention_step(const View& y, const View& q, const View& k, const View& v, const View& mask, const View& scratch,
                    bool bools, float score_multiplier, int q_zero_point, int k_zero_point, float value_multiplier,
                    int v_zero_point, int zero_point, int quant_min, int quant_max, bool causal, int isa) {
  Attention p = attention_of(y, q, k, v, mask, bools);
  p.score_multiplier = score_multiplier;
  p.value_multiplier = value_multiplier;
  p.q_zero_point = q_zero_point;
  p.k_zero_point = k_zero_point;
  p.v_zero_point = v_zero_point;
  p.output = {zero_point, quant_min, quant_max};
  p.causal = causal;
  const auto on = static_cast<Isa>(isa);
  return attention_step_of<uint8_t>(p, y, q, k, v, mask, scratch, attention_scratch(p, on), on, attention);
}

}  // namespace

void bind_matmul(nb::module_& m, ProgramClass& program) {
  // What each thread wants as scratch.
  m.def("matmul_scratch_size", [](const View& y, const View& a, const View& b, int isa) {
    return matmul_scratch(matmul_of(y, a, b), static_cast<Isa>(isa));
  });
  m.def("attention_scratch_size", [](const View& y, const View& q, const View& k, const View& v, int isa) {
    return attention_scratch(attention_of(y, q, k, v, {}, false), static_cast<Isa>(isa));
  });
  bind_step(m, program, "matmul", matmul_step);
  bind_step(m, program, "attention", attention_step);
}

}  // namespace fxquant
