#include "base/lanes_neon.h"
#include "dynamic/generic.h"

namespace fxquant {

extern const DynamicKernels dynamic_neon_dotprod;
const DynamicKernels dynamic_neon_dotprod = dynamic_table<NeonLanes>();

}  // namespace fxquant
