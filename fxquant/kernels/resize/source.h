// Where an output coordinate lies in the input: torch's rules, in float32, each operation rounded.
//   ratio      1 / scale if a scale is given (> 0), else in / out; with aligned corners (in - 1) / (out - 1)
//   bilinear   max(ratio * (i + 0.5) - 0.5, 0), or ratio * i with aligned corners
//   nearest    min(floor(ratio * i), in - 1)
#pragma once
#include <cstdint>

#include "resize/resize.h"

namespace fxquant {

struct Axis {
  int64_t in = 1, out = 1;
  double scale = 0.0;  // output size / input size as the user gave it; <= 0: from the sizes
};

inline float source_ratio(const Axis& axis) {
  if (axis.scale > 0.0) return static_cast<float>(1.0 / axis.scale);
  return static_cast<float>(axis.in) / static_cast<float>(axis.out);
}

inline float source_position(const Axis& axis, bool align_corners, int64_t i) {
  if (align_corners) {
    const float ratio = axis.out > 1 ? static_cast<float>(axis.in - 1) / static_cast<float>(axis.out - 1) : 0.0F;
    return ratio * static_cast<float>(i);
  }
  const float position = source_ratio(axis) * (static_cast<float>(i) + 0.5F) - 0.5F;
  return position > 0.0F ? position : 0.0F;
}

// min(floor(position), last) of a position >= 0, and `last` for a NaN (infinity * 0, if a scale is near 0). The bound
// comes first, since what is beyond int64 has no integer.
inline int64_t whole_below(int64_t last, float position) {
  return position < static_cast<float>(last) ? static_cast<int64_t>(position) : last;
}

inline Tap bilinear_tap(const Axis& axis, bool align_corners, int64_t i) {
  if (axis.in == axis.out) return {i, i, 1.0F, 0.0F};
  const int64_t last = axis.in - 1;
  const float position = source_position(axis, align_corners, i);
  const int64_t index = whole_below(last, position);
  const float over = position - static_cast<float>(index);
  const float weight = over < 1.0F ? over : 1.0F;
  return {index, index < last ? index + 1 : last, 1.0F - weight, weight};
}

inline int64_t nearest_index(const Axis& axis, int64_t i) {
  if (axis.in == axis.out) return i;
  if (axis.out == 2 * axis.in) return i / 2;
  return whole_below(axis.in - 1, source_ratio(axis) * static_cast<float>(i));
}

}  // namespace fxquant
