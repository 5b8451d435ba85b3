#include "base/dot_avx512.h"
#include "recurrent/generic.h"

namespace fxquant {

extern const RecurrentKernels recurrent_avx512vnni;
const RecurrentKernels recurrent_avx512vnni = recurrent_table<Avx512Dot>();

}  // namespace fxquant
