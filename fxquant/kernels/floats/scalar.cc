#include "base/lanes_scalar.h"
#include "floats/attention.h"

namespace fxquant {

extern const FloatKernels floats_scalar;
const FloatKernels floats_scalar = float_table<ScalarLanes, 4>();

}  // namespace fxquant
