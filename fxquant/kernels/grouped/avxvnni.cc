#include "base/dot_avxvnni.h"
#include "grouped/generic.h"

namespace fxquant {

extern const GroupedKernels grouped_avxvnni;
const GroupedKernels grouped_avxvnni = grouped_table<AvxVnniDot>();

}  // namespace fxquant
