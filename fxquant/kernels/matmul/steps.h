// The steps of a product and of an attention, whatever their elements are.
#pragma once
#include "base/bind.h"
#include "matmul/views.h"

namespace fxquant {
namespace {

// Calls `run` on as many threads as `scratch`, with `bytes` for each, has room for.
template <class Element, class Params, class Operands>
Step attention_step_of(const Params& p, const View& y, const View& q, const View& k, const View& v, const View& mask,
                       const View& scratch, int64_t bytes, Isa isa,
                       void (*run)(const Params&, const Operands&, uint8_t*, Isa, int)) {
  const auto most = static_cast<int>(bytes > 0 ? scratch.elements() / bytes : 1);
  return [=, y_at = y.place, q_at = q.place, k_at = k.place, v_at = v.place, mask_at = mask.place,
          memory = scratch.place](const Frame& frame) {
    const Operands operands{frame.at<Element>(y_at), frame.at<const Element>(q_at), frame.at<const Element>(k_at),
                            frame.at<const Element>(v_at),
                            p.mask == Mask::none ? nullptr : frame.at<const uint8_t>(mask_at)};
    run(p, operands, frame.at<uint8_t>(memory), isa, most < frame.threads ? most : frame.threads);
  };
}

// The same of a product.
template <class Element, class Params, class Operands>
Step matmul_step_of(const Params& p, const View& y, const View& a, const View& b, const View& scratch, int64_t bytes,
                    Isa isa, void (*run)(const Params&, const Operands&, uint8_t*, Isa, int)) {
  const auto most = static_cast<int>(bytes > 0 ? scratch.elements() / bytes : 1);
  return [=, y_at = y.place, a_at = a.place, b_at = b.place, memory = scratch.place](const Frame& frame) {
    const Operands operands{frame.at<Element>(y_at), frame.at<const Element>(a_at), frame.at<const Element>(b_at)};
    run(p, operands, frame.at<uint8_t>(memory), isa, most < frame.threads ? most : frame.threads);
  };
}

}  // namespace
}  // namespace fxquant
