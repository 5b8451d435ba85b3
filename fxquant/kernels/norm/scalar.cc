#include "base/lanes_scalar.h"
#include "norm/generic.h"

namespace fxquant {

extern const NormKernels norm_scalar;
const NormKernels norm_scalar = norm_table<ScalarLanes, PlainSums>();

}  // namespace fxquant
