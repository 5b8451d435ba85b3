// vpmaddwd and vpaddd ymm: together 16 multiply-adds, exact; 6 products on their way to 6 accumulators.
#include "roofline/roofline.h"

namespace fxquant {
namespace {

void run(int64_t steps) {
  for (int64_t i = 0; i < steps; ++i) {
    asm volatile(
        ".irp acc,2,3,4,5,6,7\n\t"
        "vpmaddwd %%ymm0, %%ymm1, %%ymm14\n\t"
        "vpaddd %%ymm14, %%ymm\\acc, %%ymm\\acc\n\t"
        ".endr"
        :
        :
        : "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm14");
  }
  asm volatile("vzeroupper");
}

}  // namespace

extern const RooflineKernels roofline_avx2 = {6 * 16, run};

}  // namespace fxquant
