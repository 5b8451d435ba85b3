#include "base/dot_scalar.h"
#include "grouped/generic.h"

namespace fxquant {

extern const GroupedKernels grouped_scalar;
const GroupedKernels grouped_scalar = grouped_table<ScalarDot>();

}  // namespace fxquant
