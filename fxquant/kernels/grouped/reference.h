// The truth that every kernel of the family is held against.
#pragma once
#include "grouped/grouped.h"

namespace fxquant {

inline void reference_grouped(const GroupedWeights& w, const GroupedLinear& p, uint8_t* y, const uint8_t* x) {
  const int64_t groups = (w.inputs + w.group - 1) / w.group;
  for (int64_t m = 0; m < p.rows; ++m) {
    const int32_t zero_point = p.terms ? p.terms[m].zero_point : p.x_zero_point;
    for (int64_t n = 0; n < w.outputs; ++n) {
      float total = 0.0F;
      for (int64_t g = 0; g < groups; ++g) {
        int32_t acc = 0;
        for (int64_t k = g * w.group; k < (g + 1) * w.group && k < w.inputs; ++k) {
          acc += (x[m * p.x_stride + k] - zero_point) * w.weight[n * w.inputs + k];
        }
        total += static_cast<float>(acc) * w.scale[n * groups + g];
      }
      uint8_t* to = y + m * p.y_stride;
      if (p.terms) {
        const float real = total * p.terms[m].scale + p.bias[n];
        reinterpret_cast<float*>(to)[n] = real < p.bounds.low    ? p.bounds.low
                                          : real > p.bounds.high ? p.bounds.high
                                                                 : real;
      } else {
        to[n] = round_and_saturate(total * p.multiplier + p.bias[n], p.output);
      }
    }
  }
}

}  // namespace fxquant
