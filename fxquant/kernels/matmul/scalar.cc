#include "base/dot_scalar.h"
#include "matmul/generic.h"

namespace fxquant {

extern const MatmulKernels matmul_scalar;
const MatmulKernels matmul_scalar = matmul_table<ScalarDot>();

}  // namespace fxquant
