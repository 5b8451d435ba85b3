#include "base/dot_avxvnni.h"
#include "recurrent/generic.h"

namespace fxquant {

extern const RecurrentKernels recurrent_avxvnni;
const RecurrentKernels recurrent_avxvnni = recurrent_table<AvxVnniDot>();

}  // namespace fxquant
