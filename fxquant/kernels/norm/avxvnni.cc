#include "base/dot_avxvnni.h"
#include "norm/generic.h"

namespace fxquant {

extern const NormKernels norm_avxvnni;
const NormKernels norm_avxvnni = norm_table<AvxVnniDot, DotSums<AvxVnniDot>>();

}  // namespace fxquant
