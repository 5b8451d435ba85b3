// Steps of floats.
#include "base/bind.h"

#include "floats/floats.h"
#include "matmul/views.h"

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

FloatAttention float_attention_of(const View& y, const View& q, const View& k, const View& v, const View& mask,
                                  bool bools) {
  FloatAttention p;
  static_cast<AttentionLayout&>(p) = layout_of(y, q, k, v, mask, bools);
  return p;
}

Step attention_step(const View& y, const View& q, const View& k, const View& v, const View& mask, const View& scratch,
                    bool bools, bool causal, float scale, int isa) {
  FloatAttention p = float_attention_of(y, q, k, v, mask, bools);
  p.causal = causal;
  p.scale = scale;
  const int64_t bytes = float_attention_scratch(p, static_cast<Isa>(isa));
  const auto most = static_cast<int>(bytes > 0 ? scratch.elements() / bytes : 1);
  return [=, y_at = y.place, q_at = q.place, k_at = k.place, v_at = v.place, mask_at = mask.place,
          memory = scratch.place](const Frame& frame) {
    const FloatAttentionOperands operands{frame.at<float>(y_at), frame.at<const float>(q_at),
                                          frame.at<const float>(k_at), frame.at<const float>(v_at),
                                          p.mask == Mask::none ? nullptr : frame.at<const uint8_t>(mask_at)};
    float_attention(p, operands, frame.at<uint8_t>(memory), static_cast<Isa>(isa),
                    most < frame.threads ? most : frame.threads);
  };
}

}  // namespace

void bind_floats(nb::module_& m, ProgramClass& program) {
  // What each thread wants as scratch.
  m.def("float_attention_scratch_size", [](const View& y, const View& q, const View& k, const View& v, int isa) {
    return float_attention_scratch(float_attention_of(y, q, k, v, {}, false), static_cast<Isa>(isa));
  });
  bind_step(m, program, "float_add", add_step);
  bind_step(m, program, "float_gelu", gelu_step);
  bind_step(m, program, "float_layer_norm", layer_norm_step);
  bind_step(m, program, "float_attention", attention_step);
}

}  // namespace fxquant
