#include "base/dot_avx2.h"
#include "recurrent/generic.h"

namespace fxquant {

extern const RecurrentKernels recurrent_avx2;
const RecurrentKernels recurrent_avx2 = recurrent_table<Avx2Dot>();

}  // namespace fxquant
