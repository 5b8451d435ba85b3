#include "base/dot_avx512.h"
#include "matmul/generic.h"

namespace fxquant {

extern const MatmulKernels matmul_avx512vnni;
const MatmulKernels matmul_avx512vnni = matmul_table<Avx512Dot>();

}  // namespace fxquant
