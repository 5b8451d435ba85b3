// The step of an attention of floats, whichever kernel computes it.
#pragma once
#include <string>

#include "base/bind.h"
#include "floats/floats.h"
#include "matmul/views.h"

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
  const int64_t bytes = Scratch(p, static_cast<Isa>(isa));
  const auto most = static_cast<int>(bytes > 0 ? scratch.elements() / bytes : 1);
  return [=, y_at = y.place, q_at = q.place, k_at = k.place, v_at = v.place, mask_at = mask.place,
          memory = scratch.place](const Frame& frame) {
    const FloatAttentionOperands operands{frame.at<float>(y_at), frame.at<const float>(q_at),
                                          frame.at<const float>(k_at), frame.at<const float>(v_at),
                                          p.mask == Mask::none ? nullptr : frame.at<const uint8_t>(mask_at)};
    Run(p, operands, frame.at<uint8_t>(memory), static_cast<Isa>(isa), most < frame.threads ? most : frame.threads);
  };
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
