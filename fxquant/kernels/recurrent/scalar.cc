#include "base/dot_scalar.h"
#include "recurrent/generic.h"

namespace fxquant {

extern const RecurrentKernels recurrent_scalar;
const RecurrentKernels recurrent_scalar = recurrent_table<ScalarDot>();

}  // namespace fxquant
