#include "base/lanes_avx512.h"
#include "floats/attention.h"

namespace fxquant {

extern const FloatKernels floats_avx512vnni;
const FloatKernels floats_avx512vnni = float_table<Avx512Lanes, 8>();

}  // namespace fxquant
