#include "base/dot_avx2.h"
#include "dynamic_attention/generic.h"

namespace fxquant {

extern const DynamicAttentionKernels dynamic_attention_avx2;
const DynamicAttentionKernels dynamic_attention_avx2 = dynamic_attention_table<Avx2Dot>();

}  // namespace fxquant
