// One element after another: planes of any strides.
#pragma once
#include "elementwise/reference.h"

namespace fxquant {
namespace {

template <class Params>
void elementwise_strided(const Plane<3>& plane, uint8_t* y, const uint8_t* a, const uint8_t* b, const Params& params) {
  for (int64_t r = 0; r < plane.rows; ++r) {
    for (int64_t i = 0; i < plane.length; ++i) {
      y[r * plane.row[0] + i * plane.step[0]] =
          reference_element(a[r * plane.row[1] + i * plane.step[1]], b[r * plane.row[2] + i * plane.step[2]], params);
    }
  }
}

}  // namespace
}  // namespace fxquant
