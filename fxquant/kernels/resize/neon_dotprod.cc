#include "base/lanes_neon.h"
#include "resize/generic.h"

namespace fxquant {

extern const ResizeKernels resize_neon_dotprod;
const ResizeKernels resize_neon_dotprod = {bilinear_row<NeonLanes>};

}  // namespace fxquant
