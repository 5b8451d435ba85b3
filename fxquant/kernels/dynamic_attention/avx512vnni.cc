#include "base/dot_avx512.h"
#include "dynamic_attention/generic.h"

namespace fxquant {

extern const DynamicAttentionKernels dynamic_attention_avx512vnni;
const DynamicAttentionKernels dynamic_attention_avx512vnni = dynamic_attention_table<Avx512Dot>();

}  // namespace fxquant
