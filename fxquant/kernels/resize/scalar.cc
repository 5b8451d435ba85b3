#include "base/lanes_scalar.h"
#include "resize/generic.h"

namespace fxquant {

extern const ResizeKernels resize_scalar;
const ResizeKernels resize_scalar = {bilinear_row<ScalarLanes>};

}  // namespace fxquant
