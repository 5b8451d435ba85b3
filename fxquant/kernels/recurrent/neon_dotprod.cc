#include "base/dot_neon.h"
#include "recurrent/generic.h"

namespace fxquant {

extern const RecurrentKernels recurrent_neon_dotprod;
const RecurrentKernels recurrent_neon_dotprod = recurrent_table<NeonDot>();

}  // namespace fxquant
