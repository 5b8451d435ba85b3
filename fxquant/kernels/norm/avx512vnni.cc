#include "base/dot_avx512.h"
#include "norm/generic.h"

namespace fxquant {

extern const NormKernels norm_avx512vnni;
const NormKernels norm_avx512vnni = norm_table<Avx512Lanes, DotSums<Avx512Dot>>();

}  // namespace fxquant
