// vpdpbusd ymm: 32 multiply-adds, latency 5, at most 2 a cycle; 12 accumulators.
#include "roofline/roofline.h"

// FXQUANT_EVEX_VNNI: the same instruction as AVX512-VL encodes it, so that tests run where AVX-VNNI is missing.
#ifdef FXQUANT_EVEX_VNNI
#define FXQUANT_DPBUSD "%{evex%} vpdpbusd"
#else
#define FXQUANT_DPBUSD "%{vex%} vpdpbusd"
#endif

namespace fxquant {
namespace {

void run(int64_t steps) {
  for (int64_t i = 0; i < steps; ++i) {
    asm volatile(".irp acc,2,3,4,5,6,7,8,9,10,11,12,13\n\t" FXQUANT_DPBUSD
                 " %%ymm0, %%ymm1, %%ymm\\acc\n\t"
                 ".endr"
                 :
                 :
                 : "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13");
  }
  asm volatile("vzeroupper");
}

}  // namespace

extern const RooflineKernels roofline_avxvnni = {12 * 32, run};

}  // namespace fxquant
