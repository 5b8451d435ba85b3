#include "base/dot_avx2.h"
#include "norm/generic.h"

namespace fxquant {

extern const NormKernels norm_avx2;
const NormKernels norm_avx2 = norm_table<Avx2Lanes, DotSums<Avx2Dot>>();

}  // namespace fxquant
