#include "elementwise/strided.h"

namespace fxquant {

extern const ElementwiseKernels elementwise_scalar;
const ElementwiseKernels elementwise_scalar = {elementwise_strided<Add>, elementwise_strided<Mul>,
                                               elementwise_strided<Maximum>, elementwise_strided<Minimum>,
                                               elementwise_strided<Div>};

}  // namespace fxquant
