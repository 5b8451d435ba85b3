// Where things lie in packed weights.
#pragma once
#include "grouped/grouped.h"

namespace fxquant {

constexpr int64_t kStep = 4;          // inputs that one dot product takes
constexpr int64_t kHeaderBytes = 64;  // of a header, and what follows begins on a cache line

inline int64_t group_inputs(const GroupedHeader& h, int64_t g) {
  const int64_t left = h.inputs - g * h.group;
  return left < h.group ? left : h.group;
}

inline int64_t group_bytes(const GroupedHeader& h, int64_t g, int64_t columns) {
  return columns * (8 + (group_inputs(h, g) + kStep - 1) / kStep * kStep);
}

// All groups but the last one are alike.
inline int64_t panel_bytes(const GroupedHeader& h, int64_t columns) {
  const int64_t last = h.groups() - 1;
  return last * group_bytes(h, 0, columns) + group_bytes(h, last, columns);
}

}  // namespace fxquant
