// Four lanes of float32 (contract in lanes_scalar.h), for NEON.
//
// fcvtns rounds to nearest even after the bounds were applied in float; of a NaN and a number fmaxnm takes the number,
// so NaN ends at the lower bound. What is then within [quant_min, quant_max] - zero_point loses nothing if it is cut to
// its lowest byte and the zero point is added to that, modulo 256.
#pragma once
#include <arm_neon.h>

#include "base/few_bytes.h"
#include "base/requantize.h"

namespace fxquant {
namespace {

struct NeonLanes {
  static constexpr int kCount = 4;
  using F32 = float32x4_t;
  struct Output {
    float32x4_t low, high;
    uint8x16_t zero_point;
  };

  static Output output(const Requantize& q) {
    return {set(static_cast<float>(q.quant_min - q.zero_point)), set(static_cast<float>(q.quant_max - q.zero_point)),
            vdupq_n_u8(static_cast<uint8_t>(q.zero_point))};
  }
  static F32 set(float value) { return vdupq_n_f32(value); }
  static F32 from_u8(uint64_t bytes) { return vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(bytes))))); }
  static F32 load_u8(const uint8_t* p) { return from_u8(load_as<uint32_t>(p)); }
  static F32 load_u8(const uint8_t* p, int64_t count) { return from_u8(load_bytes(p, count)); }
  static F32 load_f32(const float* p) { return vld1q_f32(p); }
  static F32 load_f32(const float* p, int64_t count) {
    if (count >= kCount) return load_f32(p);
    F32 v = vdupq_n_f32(0.0F);
    if (count > 0) v = vld1q_lane_f32(p, v, 0);
    if (count > 1) v = vld1q_lane_f32(p + 1, v, 1);
    if (count > 2) v = vld1q_lane_f32(p + 2, v, 2);
    return v;
  }
  static F32 add(F32 a, F32 b) { return vaddq_f32(a, b); }
  static F32 sub(F32 a, F32 b) { return vsubq_f32(a, b); }
  static F32 mul(F32 a, F32 b) { return vmulq_f32(a, b); }
  static F32 div(F32 a, F32 b) { return vdivq_f32(a, b); }
  static F32 multiply_add(F32 a, F32 b, F32 c) { return vfmaq_f32(c, a, b); }
  static F32 greater(F32 a, F32 b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
  static F32 lesser(F32 a, F32 b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
  static float first_of(int32x4_t bits) { return vgetq_lane_f32(vreinterpretq_f32_s32(bits), 0); }
  static F32 upper(F32 a, F32 b) {
    return vreinterpretq_f32_s32(vmaxq_s32(vreinterpretq_s32_f32(a), vreinterpretq_s32_f32(b)));
  }
  static F32 lower(F32 a, F32 b) {
    return vreinterpretq_f32_u32(vmaxq_u32(vreinterpretq_u32_f32(a), vreinterpretq_u32_f32(b)));
  }
  static F32 negative(F32 v) { return vnegq_f32(vabsq_f32(v)); }
  static float uppermost(F32 v) { return first_of(vdupq_n_s32(vmaxvq_s32(vreinterpretq_s32_f32(v)))); }
  static float lowermost(F32 v) {
    return first_of(vreinterpretq_s32_u32(vdupq_n_u32(vmaxvq_u32(vreinterpretq_u32_f32(v)))));
  }
  static float largest(F32 v) { return vmaxvq_f32(v); }
  static float sum(F32 v) {
    const float32x2_t two = vadd_f32(vget_low_f32(v), vget_high_f32(v));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
  }
  static F32 nearest(F32 v) { return vrndnq_f32(v); }
  static F32 scaled(F32 v, F32 n) {
    const int32x4_t exponent = vshlq_n_s32(vcvtnq_s32_f32(n), 23);
    return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(v), exponent));
  }
  static void store_f32(float* p, F32 v) { vst1q_f32(p, v); }
  static void store_f32(float* p, int64_t count, F32 v) {
    if (count >= kCount) return store_f32(p, v);
    if (count > 0) vst1q_lane_f32(p, v, 0);
    if (count > 1) vst1q_lane_f32(p + 1, v, 1);
    if (count > 2) vst1q_lane_f32(p + 2, v, 2);
  }

  static uint32x4_t round(F32 v, const Output& q) {
    return vreinterpretq_u32_s32(vcvtnq_s32_f32(vminq_f32(vmaxnmq_f32(v, q.low), q.high)));
  }
  // Sixteen bytes: for each lane, those of v[0], v[1], v[2], v[3].
  static uint8x16_t pack(const F32 (&v)[4], const Output& q) {
    uint32x4_t words = vsliq_n_u32(round(v[0], q), round(v[1], q), 8);
    words = vsliq_n_u32(words, round(v[2], q), 16);
    words = vsliq_n_u32(words, round(v[3], q), 24);
    return vaddq_u8(vreinterpretq_u8_u32(words), q.zero_point);
  }
  static uint16x8_t halves(uint32x4_t a, uint32x4_t b) {
    return vuzp1q_u16(vreinterpretq_u16_u32(a), vreinterpretq_u16_u32(b));
  }
  static uint8x16_t bytes(uint16x8_t a, uint16x8_t b, const Output& q) {
    return vaddq_u8(vuzp1q_u8(vreinterpretq_u8_u16(a), vreinterpretq_u8_u16(b)), q.zero_point);
  }
  static void store_u8(uint8_t* p, int64_t count, F32 v, const Output& q) {
    const uint32x4_t rounded = round(v, q);
    const uint16x8_t half = halves(rounded, rounded);
    store_bytes(p, count, vgetq_lane_u32(vreinterpretq_u32_u8(bytes(half, half, q)), 0));
  }
  static void store4_u8(uint8_t* p, const F32 (&v)[4], const Output& q) {
    const uint16x8_t low = halves(round(v[0], q), round(v[1], q)), high = halves(round(v[2], q), round(v[3], q));
    vst1q_u8(p, bytes(low, high, q));
  }
};

}  // namespace
}  // namespace fxquant
