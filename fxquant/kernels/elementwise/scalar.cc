#include "elementwise/strided.h"

namespace fxquant {

extern const ElementwiseKernels elementwise_scalar;
const ElementwiseKernels elementwise_scalar = {elementwise_strided<Add>, elementwise_strided<Mul>};

}  // namespace fxquant
