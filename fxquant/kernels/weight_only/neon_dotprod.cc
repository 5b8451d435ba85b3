#include "base/lanes_neon.h"
#include "weight_only/generic.h"

namespace fxquant {
namespace {

// 6 x 16 outputs are 24 accumulators, 4 weights, 1 input.
struct NeonFused : NeonLanes {
  static constexpr int kVectors = 4, kRows = 6;

  static void widen(const int8_t* p, F32 (&w)[kVectors]) {
    const int8x16_t bytes = vld1q_s8(p);
    const int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_s8(vget_high_s8(bytes));
    w[0] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(low)));
    w[1] = vcvtq_f32_s32(vmovl_s16(vget_high_s16(low)));
    w[2] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(high)));
    w[3] = vcvtq_f32_s32(vmovl_s16(vget_high_s16(high)));
  }
  static void widen(const uint16_t* p, F32 (&w)[kVectors]) {
    unroll<kVectors>([&](auto v)
                         FXQUANT_UNROLLED { w[v] = vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + v * kCount))); });
  }
  static F32 fma(F32 a, F32 b, F32 c) { return vfmaq_f32(c, a, b); }
  static F32 less(F32 a, F32 b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
};

}  // namespace

extern const WeightOnlyKernels weight_only_neon_dotprod;
const WeightOnlyKernels weight_only_neon_dotprod = weight_only_table<NeonFused>();

}  // namespace fxquant
