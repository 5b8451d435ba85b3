// sdot: 16 multiply-adds, latency 3 to 4, at most 4 a cycle; 16 accumulators.
#include "roofline/roofline.h"

namespace fxquant {
namespace {

void run(int64_t steps) {
  for (int64_t i = 0; i < steps; ++i) {
    asm volatile(
        ".irp acc,2,3,4,5,6,7,16,17,18,19,20,21,22,23,24,25\n\t"
        "sdot v\\acc\\().4s, v0.16b, v1.16b\n\t"
        ".endr"
        :
        :
        : "v2", "v3", "v4", "v5", "v6", "v7", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25");
  }
}

}  // namespace

extern const RooflineKernels roofline_neon_dotprod = {16 * 16, run};

}  // namespace fxquant
