#include "base/bytes_avx2.h"
#include "elementwise/generic.h"

namespace fxquant {

extern const ElementwiseKernels elementwise_avx2;
const ElementwiseKernels elementwise_avx2 = elementwise_table();

}  // namespace fxquant
