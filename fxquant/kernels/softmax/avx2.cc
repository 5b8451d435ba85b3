#include "base/lanes_avx2.h"
#include "softmax/generic.h"

namespace fxquant {

extern const SoftmaxKernels softmax_avx2;
const SoftmaxKernels softmax_avx2 = softmax_table<Avx2Lanes>();

}  // namespace fxquant
