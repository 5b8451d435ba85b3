#include "base/dot_avxvnni.h"
#include "dynamic_matmul/generic.h"

namespace fxquant {

extern const DynamicMatmulKernels dynamic_matmul_avxvnni;
const DynamicMatmulKernels dynamic_matmul_avxvnni = dynamic_matmul_table<AvxVnniDot>();

}  // namespace fxquant
