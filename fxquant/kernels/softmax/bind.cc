// Steps of softmax and log_softmax, along the last dimension of views of any strides.
#include "base/bind.h"

#include "softmax/softmax.h"

namespace nb = nanobind;

namespace fxquant {
namespace {

Step step_of(const Softmax& p, const View& y, const View& x, const View& mask, const View& scratch, int isa) {
  const int64_t bytes = softmax_scratch(p.rows.length);
  const auto most = static_cast<int>(bytes > 0 ? scratch.elements() / bytes : 1);
  return [=, y_at = y.place, x_at = x.place, mask_at = mask.place, memory = scratch.place](const Frame& frame) {
    const SoftmaxOperands operands{frame.at<uint8_t>(y_at), frame.at<const uint8_t>(x_at),
                                   p.masked ? frame.at<const uint8_t>(mask_at) : nullptr};
    softmax(p, operands, frame.at<uint8_t>(memory), static_cast<Isa>(isa), most < frame.threads ? most : frame.threads);
  };
}

Step softmax_step(const View& y, const View& x, const View& mask, const View& scratch, bool bools, float x_scale,
                  int x_zero_point, float multiplier, int zero_point, int quant_min, int quant_max, int isa) {
  Softmax p;
  p.rows = rows_of(walk_of<3>({&y, &x, mask.present ? &mask : &x}));
  p.masked = mask.present;
  p.bools = bools;
  p.x_scale = x_scale;
  p.x_zero_point = x_zero_point;
  p.multiplier = multiplier;
  p.output = {zero_point, quant_min, quant_max};
  return step_of(p, y, x, mask, scratch, isa);
}

Step log_softmax_step(const View& y, const View& x, const View& scratch, float x_scale, int x_zero_point,
                      float multiplier, int zero_point, int quant_min, int quant_max, int isa) {
  Softmax p;
  p.rows = rows_of(walk_of<3>({&y, &x, &x}));
  p.logarithm = true;
  p.x_scale = x_scale;
  p.x_zero_point = x_zero_point;
  p.multiplier = multiplier;
  p.output = {zero_point, quant_min, quant_max};
  return step_of(p, y, x, {}, scratch, isa);
}

}  // namespace

void bind_softmax(nb::module_& m, ProgramClass& program) {
  m.def("softmax_scratch_size", &softmax_scratch);
  bind_step(m, program, "softmax", softmax_step);
  bind_step(m, program, "log_softmax", log_softmax_step);
}

}  // namespace fxquant
