// The byte vectors of bytes.h for NEON, which has one width. Int is uint8x16_t, reinterpreted for free.
#pragma once
#include <arm_neon.h>

#include <cstdint>

#include "base/bytes.h"
#include "base/few_bytes.h"

namespace fxquant {
namespace {

// 256 bytes in sixteen registers. tbl and tbx take 64 at a time; codes out of range leave what tbx is given.
class NeonTable {
 public:
  explicit NeonTable(const uint8_t* table) {
    for (int k = 0; k < 4; ++k) quarter_[k] = vld1q_u8_x4(table + 64 * k);
  }
  uint8x16_t operator()(uint8x16_t codes) const {
    uint8x16_t result = vqtbl4q_u8(quarter_[0], codes);
    result = vqtbx4q_u8(result, quarter_[1], vsubq_u8(codes, vdupq_n_u8(64)));
    result = vqtbx4q_u8(result, quarter_[2], vsubq_u8(codes, vdupq_n_u8(128)));
    return vqtbx4q_u8(result, quarter_[3], vsubq_u8(codes, vdupq_n_u8(192)));
  }

 private:
  uint8x16x4_t quarter_[4];
};

struct BytesNeon {
  using Int = uint8x16_t;
  using Float = float32x4_t;
  static constexpr int kWidth = 16;

  static int16x8_t s16(Int a) { return vreinterpretq_s16_u8(a); }
  static int32x4_t s32(Int a) { return vreinterpretq_s32_u8(a); }
  static uint16x8_t u16(Int a) { return vreinterpretq_u16_u8(a); }
  static uint32x4_t u32(Int a) { return vreinterpretq_u32_u8(a); }
  static Int from(int16x8_t a) { return vreinterpretq_u8_s16(a); }
  static Int from(int32x4_t a) { return vreinterpretq_u8_s32(a); }
  static Int from(uint16x8_t a) { return vreinterpretq_u8_u16(a); }
  static Int from(uint32x4_t a) { return vreinterpretq_u8_u32(a); }

  static Int load(const void* p) { return vld1q_u8(static_cast<const uint8_t*>(p)); }
  static Int load(const uint8_t* p, int count) {
    if (count == kWidth) return load(p);
    return vcombine_u8(vcreate_u8(load_bytes(p, count)), vcreate_u8(count > 8 ? load_bytes(p + 8, count - 8) : 0));
  }
  static void store(void* p, Int v) { vst1q_u8(static_cast<uint8_t*>(p), v); }
  static void store(uint8_t* p, Int v, int count) {
    if (count == kWidth) return store(p, v);
    const uint64x2_t words = vreinterpretq_u64_u8(v);
    store_bytes(p, count, vgetq_lane_u64(words, 0));
    if (count > 8) store_bytes(p + 8, count - 8, vgetq_lane_u64(words, 1));
  }
  static Float load_f32(const void* p) { return vld1q_f32(static_cast<const float*>(p)); }
  static Int zero() { return vdupq_n_u8(0); }
  static Int splat_8(int32_t v) { return vdupq_n_u8(static_cast<uint8_t>(v)); }
  static Int splat_16(int32_t v) { return from(vdupq_n_s16(static_cast<int16_t>(v))); }
  static Int splat_32(int32_t v) { return from(vdupq_n_s32(v)); }
  static Float splat(float v) { return vdupq_n_f32(v); }
  static Int low_8(Int a, Int b) { return vzip1q_u8(a, b); }
  static Int high_8(Int a, Int b) { return vzip2q_u8(a, b); }
  static Int low_16(Int a, Int b) { return from(vzip1q_u16(u16(a), u16(b))); }
  static Int high_16(Int a, Int b) { return from(vzip2q_u16(u16(a), u16(b))); }
  static Int pack_32(Int a, Int b) { return from(vqmovn_high_s32(vqmovn_s32(s32(a)), s32(b))); }
  static Int pack_16(Int a, Int b) { return vqmovun_high_s16(vqmovun_s16(s16(a)), s16(b)); }
  static Int max_u8(Int a, Int b) { return vmaxq_u8(a, b); }
  static Int min_u8(Int a, Int b) { return vminq_u8(a, b); }
  static Int add_16(Int a, Int b) { return from(vaddq_u16(u16(a), u16(b))); }
  static Int add_saturating_16(Int a, Int b) { return from(vqaddq_s16(s16(a), s16(b))); }
  static Int add_32(Int a, Int b) { return from(vaddq_u32(u32(a), u32(b))); }
  static Int sub_32(Int a, Int b) { return from(vsubq_u32(u32(a), u32(b))); }
  static Int left_32(Int a, int n) { return from(vshlq_u32(u32(a), vdupq_n_s32(n))); }
  static Int right_32(Int a, int n) { return from(vshlq_u32(u32(a), vdupq_n_s32(-n))); }
  static Float to_float(Int a) { return vcvtq_f32_s32(s32(a)); }
  static Int round(Float a) { return from(vcvtnq_s32_f32(a)); }
  // The conversion saturates, and fmaxnm takes the number where the other operand is a NaN.
  static Int round_bounded(Float a, Float) { return round(vmaxnmq_f32(a, splat(-2147483648.0F))); }
  static Float add(Float a, Float b) { return vaddq_f32(a, b); }
  static Float sub(Float a, Float b) { return vsubq_f32(a, b); }
  static Float mul(Float a, Float b) { return vmulq_f32(a, b); }
  static Float div(Float a, Float b) { return vdivq_f32(a, b); }
  static Float max(Float a, Float b) { return vmaxq_f32(a, b); }
  static Float min(Float a, Float b) { return vminq_f32(a, b); }
  static Int lookup(const uint8_t* table, Int codes) { return NeonTable(table)(codes); }
};

template <class Body>
inline void with_bytes(int64_t, const Body& body) {
  body(BytesNeon{});
}

}  // namespace
}  // namespace fxquant
