#include "base/dot_neon.h"
#include "dynamic_attention/generic.h"

namespace fxquant {

extern const DynamicAttentionKernels dynamic_attention_neon_dotprod;
const DynamicAttentionKernels dynamic_attention_neon_dotprod = dynamic_attention_table<NeonDot>();

}  // namespace fxquant
