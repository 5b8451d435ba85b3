#include "base/dot_avxvnni.h"
#include "dynamic_attention/generic.h"

namespace fxquant {

extern const DynamicAttentionKernels dynamic_attention_avxvnni;
const DynamicAttentionKernels dynamic_attention_avxvnni = dynamic_attention_table<AvxVnniDot>();

}  // namespace fxquant
