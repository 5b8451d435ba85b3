// The truth that every kernel of the family is held against: one row, element by element.
#pragma once
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/exponential.h"
#include "base/lanes_scalar.h"
#include "softmax/softmax.h"

namespace fxquant {

inline void reference_softmax(const Softmax& p, uint8_t* y, const uint8_t* x, const uint8_t* mask) {
  const auto length = static_cast<size_t>(p.rows.length);
  std::vector<float> d(length), e(length);
  float most = -INFINITY;
  for (size_t j = 0; j < length; ++j) {
    const auto at = static_cast<int64_t>(j);
    d[j] = static_cast<float>(x[at * p.rows.step[1]] - p.x_zero_point) * p.x_scale;
    if (p.masked && p.bools) d[j] += mask[at * p.rows.step[2]] != 0 ? 0.0F : -INFINITY;
    if (p.masked && !p.bools) d[j] += reinterpret_cast<const float*>(mask)[at * p.rows.step[2]];
    most = d[j] > most ? d[j] : most;
  }
  int64_t total = 0;
  for (size_t j = 0; j < length; ++j) {
    d[j] = d[j] - most;
    e[j] = std::rint(power_of_2<ScalarLanes>(d[j] * kLog2E, kExponential) * 8388608.0F);
    total += static_cast<int64_t>(e[j]);
  }
  const auto factor = static_cast<float>(static_cast<double>(p.multiplier) / static_cast<double>(total));
  const auto logarithm = static_cast<float>(std::log(static_cast<double>(total) / 8388608.0));
  for (size_t j = 0; j < length; ++j) {
    const float value = p.logarithm ? (d[j] - logarithm) * p.multiplier : e[j] * factor;
    y[static_cast<int64_t>(j) * p.rows.step[0]] = round_and_saturate(value, p.output);
  }
}

}  // namespace fxquant
