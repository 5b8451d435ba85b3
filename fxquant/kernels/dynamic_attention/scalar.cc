#include "base/dot_scalar.h"
#include "dynamic_attention/generic.h"

namespace fxquant {

extern const DynamicAttentionKernels dynamic_attention_scalar;
const DynamicAttentionKernels dynamic_attention_scalar = dynamic_attention_table<ScalarDot>();

}  // namespace fxquant
