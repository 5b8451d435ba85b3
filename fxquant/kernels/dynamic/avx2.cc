#include "base/lanes_avx2.h"
#include "dynamic/generic.h"

namespace fxquant {

extern const DynamicKernels dynamic_avx2;
const DynamicKernels dynamic_avx2 = dynamic_table<Avx2Lanes>();

}  // namespace fxquant
