#include "base/lanes_scalar.h"
#include "softmax/generic.h"

namespace fxquant {

extern const SoftmaxKernels softmax_scalar;
const SoftmaxKernels softmax_scalar = softmax_table<ScalarLanes>();

}  // namespace fxquant
