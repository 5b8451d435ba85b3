#include "base/dot_avx512.h"
#include "dynamic_matmul/generic.h"

namespace fxquant {

extern const DynamicMatmulKernels dynamic_matmul_avx512vnni;
const DynamicMatmulKernels dynamic_matmul_avx512vnni = dynamic_matmul_table<Avx512Dot>();

}  // namespace fxquant
