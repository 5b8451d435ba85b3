#include "base/dot_neon.h"
#include "dynamic_matmul/generic.h"

namespace fxquant {

extern const DynamicMatmulKernels dynamic_matmul_neon_dotprod;
const DynamicMatmulKernels dynamic_matmul_neon_dotprod = dynamic_matmul_table<NeonDot>();

}  // namespace fxquant
