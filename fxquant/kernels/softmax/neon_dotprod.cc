#include "base/lanes_neon.h"
#include "softmax/generic.h"

namespace fxquant {

extern const SoftmaxKernels softmax_neon_dotprod;
const SoftmaxKernels softmax_neon_dotprod = softmax_table<NeonLanes>();

}  // namespace fxquant
