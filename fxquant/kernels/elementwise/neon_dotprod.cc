#include "base/bytes_neon.h"
#include "elementwise/generic.h"

namespace fxquant {

extern const ElementwiseKernels elementwise_neon_dotprod;
const ElementwiseKernels elementwise_neon_dotprod = elementwise_table();

}  // namespace fxquant
