#include "base/dot_avx2.h"
#include "dynamic_matmul/generic.h"

namespace fxquant {

extern const DynamicMatmulKernels dynamic_matmul_avx2;
const DynamicMatmulKernels dynamic_matmul_avx2 = dynamic_matmul_table<Avx2Dot>();

}  // namespace fxquant
