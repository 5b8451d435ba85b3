#include "base/bytes_avx512.h"
#include "elementwise/generic.h"

namespace fxquant {

extern const ElementwiseKernels elementwise_avx512vnni;
const ElementwiseKernels elementwise_avx512vnni = elementwise_table();

}  // namespace fxquant
