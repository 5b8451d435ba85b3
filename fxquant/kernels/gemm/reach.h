// What an accumulator can reach, which decides whether a layer may run at all, and how carefully.
#pragma once
#include <cmath>
#include <cstdint>

namespace fxquant {
namespace {

// What the accumulator of a channel can reach over all inputs 0..255.
struct Reach {
  int64_t low, high;
  void add(int64_t weight, int64_t zero_point) {
    const int64_t at_0 = -zero_point * weight, at_255 = (255 - zero_point) * weight;
    low += at_0 < at_255 ? at_0 : at_255;
    high += at_0 < at_255 ? at_255 : at_0;
  }
  bool in_int32() const { return low >= INT32_MIN && high <= INT32_MAX; }
  // Whether what is rounded stays well inside int32; false for a NaN.
  bool bounded(float multiplier, float residual) const {
    const double largest = static_cast<double>(high > -low ? high : -low);
    return largest * std::fabs(multiplier) + 255.0 * std::fabs(residual) < 1 << 30;
  }
};

}  // namespace
}  // namespace fxquant
