#include "base/lanes_avx512.h"
#include "dynamic/generic.h"

namespace fxquant {

extern const DynamicKernels dynamic_avx512vnni;
const DynamicKernels dynamic_avx512vnni = dynamic_table<Avx512Lanes>();

}  // namespace fxquant
