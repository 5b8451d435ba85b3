// Dot products (contract in dot_scalar.h) for NEON with udot, which multiplies unsigned bytes by unsigned ones.
//
// With w' = w + 128, which flips the top bit: sum x * w = sum x * w' - 128 * sum x. The second term belongs to the row,
// so it is computed once for all columns.
#pragma once
#include "base/lanes_neon.h"

namespace fxquant {
namespace {

struct NeonDot : NeonLanes {
  static constexpr int kRows = 5, kVectors = 4, kOverlappedRows = 0;
  static constexpr bool kReducesSeveral = false;
  using Acc = int32x4_t;
  struct Activations {
    uint8x16_t bytes;
    int32x4_t sum_128;  // 128 times the sum of each lane's four
  };
  using Weights = uint8x16_t;  // flipped

  static Acc load_i32(const int32_t* p) { return vld1q_s32(p); }
  static Acc splat_i32(int32_t v) { return vdupq_n_s32(v); }
  static Acc add_i32(Acc a, Acc b) { return vaddq_s32(a, b); }
  static Acc mul_i32(Acc a, Acc b) { return vmulq_s32(a, b); }
  static int32_t total(Acc v) { return vaddvq_s32(v); }
  static void store_i32(int32_t* p, Acc v) { vst1q_s32(p, v); }
  static F32 to_float(Acc v) { return vcvtq_f32_s32(v); }
  static uint16x8_t words(F32 a, F32 b) { return halves(vcvtnq_u32_f32(a), vcvtnq_u32_f32(b)); }
  static void store4_words(uint16_t* p, const F32 (&v)[4]) {
    vst1q_u16(p, words(v[0], v[1]));
    vst1q_u16(p + 8, words(v[2], v[3]));
  }
  static void store4_high_bytes(uint8_t* p, const F32 (&v)[4], const uint16_t* added) {
    const uint16x8_t low = vaddq_u16(words(v[0], v[1]), vld1q_u16(added));
    const uint16x8_t high = vaddq_u16(words(v[2], v[3]), vld1q_u16(added + 8));
    vst1q_u8(p, vuzp2q_u8(vreinterpretq_u8_u16(low), vreinterpretq_u8_u16(high)));
  }

  static Activations activations_of(uint8x16_t bytes) {
    return {bytes, vreinterpretq_s32_u32(vdotq_u32(vdupq_n_u32(0), bytes, vdupq_n_u8(128)))};
  }
  static Activations broadcast(uint32_t bytes) { return activations_of(vreinterpretq_u8_u32(vdupq_n_u32(bytes))); }
  static Activations activations(const uint8_t* p) { return activations_of(vld1q_u8(p)); }
  static Activations activations(const uint8_t* p, int64_t count) {
    uint8_t bytes[4 * kCount] = {};
    for (int64_t i = 0; i < count; ++i) bytes[i] = p[i];
    return activations(bytes);
  }
  static Weights weights(const uint8_t* p) { return veorq_u8(vld1q_u8(p), vdupq_n_u8(128)); }
  static Weights flipped(const uint8_t* p) { return vld1q_u8(p); }
  static Weights ones() { return vdupq_n_u8(129); }
  static Acc dot(Acc acc, Activations x, Weights w) {
    const uint32x4_t sum = vdotq_u32(vreinterpretq_u32_s32(acc), x.bytes, w);
    return vsubq_s32(vreinterpretq_s32_u32(sum), x.sum_128);
  }

  static uint8x8_t four(const uint8_t* p) { return vcreate_u8(load_as<uint32_t>(p)); }
  static void interleave(const uint8_t* const (&row)[4], uint8_t* to) {
    const uint16x4_t ab = vreinterpret_u16_u8(vzip1_u8(four(row[0]), four(row[1])));
    const uint16x4_t cd = vreinterpret_u16_u8(vzip1_u8(four(row[2]), four(row[3])));
    vst1_u8(to, vreinterpret_u8_u16(vzip1_u16(ab, cd)));
    vst1_u8(to + 8, vreinterpret_u8_u16(vzip2_u16(ab, cd)));
  }
  static void gather(const uint8_t* from, int64_t stride, uint8_t* to, int64_t step) {
    uint32x4_t column[4];
    for (int c = 0; c < 4; ++c) column[c] = vreinterpretq_u32_u8(vld1q_u8(from + c * stride));
    const uint32x4_t even[2] = {vzip1q_u32(column[0], column[2]), vzip2q_u32(column[0], column[2])};
    const uint32x4_t odd[2] = {vzip1q_u32(column[1], column[3]), vzip2q_u32(column[1], column[3])};
    for (int half = 0; half < 2; ++half) {
      vst1q_u8(to + 2 * half * step, vreinterpretq_u8_u32(vzip1q_u32(even[half], odd[half])));
      vst1q_u8(to + (2 * half + 1) * step, vreinterpretq_u8_u32(vzip2q_u32(even[half], odd[half])));
    }
  }
};

}  // namespace
}  // namespace fxquant
