#include "base/dot_avx2.h"
#include "grouped/generic.h"

namespace fxquant {

extern const GroupedKernels grouped_avx2;
const GroupedKernels grouped_avx2 = grouped_table<Avx2Dot>();

}  // namespace fxquant
