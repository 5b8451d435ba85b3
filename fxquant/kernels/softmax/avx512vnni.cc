#include "base/lanes_avx512.h"
#include "softmax/generic.h"

namespace fxquant {

extern const SoftmaxKernels softmax_avx512vnni;
const SoftmaxKernels softmax_avx512vnni = softmax_table<Avx512Lanes>();

}  // namespace fxquant
