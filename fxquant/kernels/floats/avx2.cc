#include "base/lanes_avx2.h"
#include "floats/attention.h"

namespace fxquant {

extern const FloatKernels floats_avx2;
const FloatKernels floats_avx2 = float_table<Avx2Lanes, 4>();

}  // namespace fxquant
