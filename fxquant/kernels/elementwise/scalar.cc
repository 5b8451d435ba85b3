#include "elementwise/generic.h"

namespace fxquant {

extern const ElementwiseKernels elementwise_scalar;
const ElementwiseKernels elementwise_scalar = elementwise_table<ScalarLanes>();

}  // namespace fxquant
