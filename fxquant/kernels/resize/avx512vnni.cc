#include "base/lanes_avx512.h"
#include "resize/generic.h"

namespace fxquant {

extern const ResizeKernels resize_avx512vnni;
const ResizeKernels resize_avx512vnni = {bilinear_row<Avx512Lanes>};

}  // namespace fxquant
