// sdot: 16 multiply-adds, latency 3 to 4, at most 4 a cycle.
#include "roofline/neon.h"

namespace fxquant {
namespace {

void run(int64_t steps) {
  for (int64_t i = 0; i < steps; ++i) FXQUANT_PEAK_STEP("sdot");
}

}  // namespace

extern const RooflineKernels roofline_neon_dotprod = {16 * 16, run};

}  // namespace fxquant
