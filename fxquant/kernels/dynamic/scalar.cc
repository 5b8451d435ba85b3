#include "base/lanes_scalar.h"
#include "dynamic/generic.h"

namespace fxquant {

extern const DynamicKernels dynamic_scalar;
const DynamicKernels dynamic_scalar = dynamic_table<ScalarLanes>();

}  // namespace fxquant
