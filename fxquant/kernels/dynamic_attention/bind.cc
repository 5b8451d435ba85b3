// The step of dynamic_attention.
#include "dynamic_attention/dynamic_attention.h"
#include "floats/attention_step.h"

namespace fxquant {

void bind_dynamic_attention(nanobind::module_& m, ProgramClass& program) {
  bind_attention<dynamic_attention_scratch, dynamic_attention>(m, program, "dynamic_attention");
}

}  // namespace fxquant
