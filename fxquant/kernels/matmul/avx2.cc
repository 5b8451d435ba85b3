#include "base/dot_avx2.h"
#include "matmul/generic.h"

namespace fxquant {

extern const MatmulKernels matmul_avx2;
const MatmulKernels matmul_avx2 = matmul_table<Avx2Dot>();

}  // namespace fxquant
