#include "base/dot_neon.h"
#include "matmul/generic.h"

namespace fxquant {

extern const MatmulKernels matmul_neon_dotprod;
const MatmulKernels matmul_neon_dotprod = matmul_table<NeonDot>();

}  // namespace fxquant
