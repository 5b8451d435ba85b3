#include "base/dot_neon.h"
#include "grouped/generic.h"

namespace fxquant {

extern const GroupedKernels grouped_neon_dotprod;
const GroupedKernels grouped_neon_dotprod = grouped_table<NeonDot>();

}  // namespace fxquant
