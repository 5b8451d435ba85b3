#include "base/dot_scalar.h"
#include "dynamic_matmul/generic.h"

namespace fxquant {

extern const DynamicMatmulKernels dynamic_matmul_scalar;
const DynamicMatmulKernels dynamic_matmul_scalar = dynamic_matmul_table<ScalarDot>();

}  // namespace fxquant
