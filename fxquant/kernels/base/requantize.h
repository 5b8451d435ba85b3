// How an int32 accumulator becomes a uint8 or a float32 output: the one place where the scalar formulas are written.
#pragma once
#include <cmath>
#include <cstdint>
#include <limits>

namespace fxquant {

// What every output of an integer op goes through.
//   y = clamp(round_half_even(acc * multiplier + residual_term) + zero_point, quant_min, quant_max)
// relu, relu6 and clamp after the op are narrower quant_min, quant_max.
struct Requantize {
  int32_t zero_point = 0;
  int32_t quant_min = 0;
  int32_t quant_max = 255;
};

// A residual added before the rounding: residual_term = float(r - zero_point) * multiplier, multiplier = s_r / s_y.
struct Residual {
  int32_t zero_point = 0;
  float multiplier = 0.0F;
};

// Rounds to nearest, ties to even, saturating. The bounds are applied in float, before the conversion, so that a
// value outside int32 saturates as it should. NaN becomes quant_min.
static inline uint8_t round_and_saturate(float value, const Requantize& q) {
  const float low = static_cast<float>(q.quant_min - q.zero_point);
  const float high = static_cast<float>(q.quant_max - q.zero_point);
  if (!(value > low)) value = low;
  if (value > high) value = high;
  return static_cast<uint8_t>(static_cast<int32_t>(std::lrintf(value)) + q.zero_point);
}

static inline float residual_term(uint8_t r, const Residual& residual) {
  return static_cast<float>(static_cast<int32_t>(r) - residual.zero_point) * residual.multiplier;
}

// The product and the sum each round to float32: compile with -ffp-contract=off.
static inline uint8_t requantize(int32_t acc, float multiplier, float residual_term, const Requantize& q) {
  return round_and_saturate(static_cast<float>(acc) * multiplier + residual_term, q);
}

// What every float32 output of an integer op goes through, in place of Requantize.
//   y = clamp(acc * scale * multiplier + bias, low, high)
// where `scale` is what a row brings along, else 1. relu, relu6 and clamp after the op are bounds. A NaN stays one.
struct FloatOutput {
  float low = -std::numeric_limits<float>::infinity();
  float high = std::numeric_limits<float>::infinity();
};

// The products and the sum each round to float32, as above.
static inline float to_float(int32_t acc, float scale, float multiplier, float bias, const FloatOutput& output) {
  const float value = static_cast<float>(acc) * scale * multiplier + bias;
  return value < output.low ? output.low : value > output.high ? output.high : value;
}

}  // namespace fxquant
