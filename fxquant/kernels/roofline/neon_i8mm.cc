// usmmla: 32 multiply-adds, latency 3, at most 4 a cycle.
#include "roofline/neon.h"

namespace fxquant {
namespace {

void run(int64_t steps) {
  for (int64_t i = 0; i < steps; ++i) FXQUANT_PEAK_STEP("usmmla");
}

}  // namespace

extern const RooflineKernels roofline_neon_i8mm = {16 * 32, run};

}  // namespace fxquant
