// Steps of quantize and dequantize.
#include "base/bind.h"

#include "quantize/quantize.h"

namespace nb = nanobind;

namespace fxquant {
namespace {

Step quantize_step(const View& y, const View& x, float scale, int zero_point, int quant_min, int quant_max, int isa) {
  const Quantize params{scale, {zero_point, quant_min, quant_max}};
  return [=, to = y.place, from = x.place, walk = walk_of<2>({&y, &x})](const Frame& frame) {
    quantize(walk, frame.at<uint8_t>(to), frame.at<const float>(from), params, static_cast<Isa>(isa), frame.threads);
  };
}

Step dequantize_step(const View& y, const View& x, float scale, int zero_point, int isa) {
  return [=, to = y.place, from = x.place, walk = walk_of<2>({&y, &x})](const Frame& frame) {
    dequantize(walk, frame.at<float>(to), frame.at<const uint8_t>(from), {scale, zero_point}, static_cast<Isa>(isa),
               frame.threads);
  };
}

}  // namespace

void bind_quantize(nb::module_& m, ProgramClass& program) {
  bind_step(m, program, "quantize", quantize_step);
  bind_step(m, program, "dequantize", dequantize_step);
}

}  // namespace fxquant
