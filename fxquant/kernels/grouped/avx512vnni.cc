#include "base/dot_avx512.h"
#include "grouped/generic.h"

namespace fxquant {

extern const GroupedKernels grouped_avx512vnni;
const GroupedKernels grouped_avx512vnni = grouped_table<Avx512Dot>();

}  // namespace fxquant
