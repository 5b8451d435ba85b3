#include "base/lanes_avx2.h"
#include "elementwise/generic.h"

namespace fxquant {

extern const ElementwiseKernels elementwise_avx2;
const ElementwiseKernels elementwise_avx2 = elementwise_table<Avx2Lanes>();

}  // namespace fxquant
