#include "base/lanes_avx2.h"
#include "resize/generic.h"

namespace fxquant {

extern const ResizeKernels resize_avx2;
const ResizeKernels resize_avx2 = {bilinear_row<Avx2Lanes>};

}  // namespace fxquant
