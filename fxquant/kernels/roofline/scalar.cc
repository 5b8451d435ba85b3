// Plain C++: 16 sums of 16-bit products, as the scalar kernels compute them, in whatever registers the compiler has.
#include "roofline/roofline.h"

namespace fxquant {
namespace {

constexpr int kLanes = 16, kDepth = 64;

void run(int64_t steps) {
  int16_t x[kDepth] = {}, w[kDepth][kLanes] = {};
  for (int64_t i = 0; i < steps; ++i) {
    asm volatile("" : : "r"(x), "r"(w) : "memory");  // each step is computed anew
    int32_t acc[kLanes] = {};
    for (int k = 0; k < kDepth; ++k) {
      for (int lane = 0; lane < kLanes; ++lane) acc[lane] += static_cast<int16_t>(x[k] * w[k][lane]);
    }
    asm volatile("" : : "r"(acc) : "memory");
  }
}

}  // namespace

extern const RooflineKernels roofline_scalar = {kLanes * kDepth, run};

}  // namespace fxquant
