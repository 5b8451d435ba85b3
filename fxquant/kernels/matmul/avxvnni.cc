#include "base/dot_avxvnni.h"
#include "matmul/generic.h"

namespace fxquant {

extern const MatmulKernels matmul_avxvnni;
const MatmulKernels matmul_avxvnni = matmul_table<AvxVnniDot>();

}  // namespace fxquant
