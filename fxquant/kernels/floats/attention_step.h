// The step of an attention of floats, whichever kernel computes it, and its name in Python.
#pragma once
#include <string>

#include "floats/floats.h"
#include "matmul/steps.h"

namespace fxquant {
namespace {

inline FloatAttention float_attention_of(const View& y, const View& q, const View& k, const View& v, const View& mask,
                                         bool bools) {
  FloatAttention p;
  static_cast<AttentionLayout&>(p) = layout_of(y, q, k, v, mask, bools);
  return p;
}

template <auto Scratch, auto Run>
Step attention_step(const View& y, const View& q, const View& k, const View& v, const View& mask, const View& scratch,
                    bool bools, bool causal, float scale, int isa) {
  FloatAttention p = float_attention_of(y, q, k, v, mask, bools);
  p.causal = causal;
  p.scale = scale;
  const auto on = static_cast<Isa>(isa);
  return attention_step_of<float>(p, y, q, k, v, mask, scratch, Scratch(p, on), on, Run);
}

// The step `name`, and `name`_scratch_size: what each thread wants as scratch.
template <auto Scratch, auto Run>
void bind_attention(nanobind::module_& m, ProgramClass& program, const char* name) {
  const auto size = [](const View& y, const View& q, const View& k, const View& v, int isa) {
    return Scratch(float_attention_of(y, q, k, v, {}, false), static_cast<Isa>(isa));
  };
  m.def((std::string(name) + "_scratch_size").c_str(), size);
  bind_step(m, program, name, attention_step<Scratch, Run>);
}

}  // namespace
}  // namespace fxquant
