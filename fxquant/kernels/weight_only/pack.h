// Where things lie in packed weights.
#pragma once
#include "weight_only/weight_only.h"

namespace fxquant {

// Of a header: what follows begins on a cache line.
constexpr int64_t kWeightOnlyHeaderBytes = 64;

// Where a panel's parts begin, in bytes from its own beginning.
struct WeightOnlyPanel {
  int64_t scales, weights, bytes;

  WeightOnlyPanel(const WeightOnlyHeader& h, int64_t columns)
      : scales(4 * columns),
        weights(scales + 4 * columns * h.groups()),
        bytes(weights + columns * h.inputs * h.weight_bytes) {
    bytes = (bytes + 63) / 64 * 64;
  }
};

}  // namespace fxquant
