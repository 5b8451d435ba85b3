// vpdpbusd zmm: 64 multiply-adds, latency 5, at most 2 a cycle; 12 accumulators.
#include "roofline/roofline.h"

namespace fxquant {
namespace {

void run(int64_t steps) {
  for (int64_t i = 0; i < steps; ++i) {
    asm volatile(
        ".irp acc,2,3,4,5,6,7,8,9,10,11,12,13\n\t"
        "vpdpbusd %%zmm0, %%zmm1, %%zmm\\acc\n\t"
        ".endr"
        :
        :
        : "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13");
  }
  asm volatile("vzeroupper");
}

}  // namespace

extern const RooflineKernels roofline_avx512vnni = {12 * 64, run};

}  // namespace fxquant
