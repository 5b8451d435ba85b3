#include "base/lanes_neon.h"
#include "norm/generic.h"

namespace fxquant {

extern const NormKernels norm_neon_dotprod;
const NormKernels norm_neon_dotprod = norm_table<NeonLanes, PlainSums>();

}  // namespace fxquant
