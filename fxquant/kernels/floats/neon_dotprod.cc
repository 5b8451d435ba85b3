#include "base/lanes_neon.h"
#include "floats/attention.h"

namespace fxquant {

extern const FloatKernels floats_neon_dotprod;
const FloatKernels floats_neon_dotprod = float_table<NeonLanes, 8>();

}  // namespace fxquant
