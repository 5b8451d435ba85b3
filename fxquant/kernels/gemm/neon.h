// What the two NEON machines share: requantization and stores, a row at a time. They differ in their loop over k.
// 6 rows x 16 columns of outputs keep 24 accumulators in 32 registers.
#pragma once
#include <arm_neon.h>

#include <cstdint>

#include "base/bytes_neon.h"
#include "gemm/generic.h"

namespace fxquant {
namespace {

struct Neon {
  static constexpr int kRows = 6, kLanes = 8, kVectors = 2;
  template <int Vectors>
  static constexpr int kStoredRows = 2;
  template <int Vectors>
  static constexpr int kPipelinedRows = 0;
  static constexpr bool kSpreads = false, kHalves = false, kAdds = false;
  struct Acc {
    int32x4_t quad[2];
  };
  using V = BytesNeon;

  static FXQUANT_INLINE Acc load(const int32_t* p) { return {{vld1q_s32(p), vld1q_s32(p + 4)}}; }

  // Columns 4 * q .. 4 * q + 3 are a quad. In pairs, slot s of vector v holds column 8 * (s / 4) + s % 4 + 4 * v, so
  // quads only have to be taken in turns.
  template <int Vectors, int Quad>
  static FXQUANT_INLINE V::Float product(const Acc (&acc)[Vectors], const Panel& panel) {
    constexpr int v = Vectors == 2 ? Quad % 2 : 0, half = Vectors == 2 ? Quad / 2 : Quad;
    return vmulq_f32(vcvtq_f32_s32(acc[v].quad[half]), vld1q_f32(panel.multiplier + kLanes * v + 4 * half));
  }

  template <int Quad>
  static FXQUANT_INLINE V::Float residual_term(V::Int bytes, const Panel& panel) {
    const V::Int centered = V::sub_32(widen<V, Quad>(bytes), V::splat_32(panel.residual.zero_point));
    return V::mul(V::to_float(centered), V::splat(panel.residual.multiplier));
  }

  static FXQUANT_INLINE Acc times(const int32_t* p, int32_t factor) {
    return {{vmulq_n_s32(vld1q_s32(p), factor), vmulq_n_s32(vld1q_s32(p + 4), factor)}};
  }

  // vmaxq and vminq hand a NaN on.
  static FXQUANT_INLINE void store_floats(const Acc& acc, int v, const Panel& panel, float scale, float* to) {
    const V::Float low = V::splat(panel.float_output.low), high = V::splat(panel.float_output.high);
    unroll<2>([&](auto half) FXQUANT_UNROLLED {
      const int slot = kLanes * v + 4 * half;
      const V::Float scaled = vmulq_f32(vcvtq_f32_s32(acc.quad[half]), V::splat(scale));
      const V::Float product = vmulq_f32(scaled, vld1q_f32(panel.multiplier + slot));
      const V::Float value = V::add(product, vld1q_f32(panel.float_bias + slot));
      vst1q_f32(to + 4 * half, vminq_f32(high, vmaxq_f32(low, value)));
    });
  }

  template <int Vectors, bool HasResidual, Finish How>
  static FXQUANT_INLINE void store_row(const Acc (&acc)[Vectors], uint8_t* y, const uint8_t* residual,
                                       const Panel& panel) {
    const Saturate<V> saturate(panel.output);
    const int count = static_cast<int>(panel.columns);
    V::Int r = V::zero(), rounded[4];
    if constexpr (HasResidual) r = V::load(residual + panel.column, count);
    unroll<2 * Vectors>([&](auto q) FXQUANT_UNROLLED {
      V::Float value = product<Vectors, q>(acc, panel);
      if constexpr (HasResidual) value = V::add(value, residual_term<q>(r, panel));
      rounded[q] = How == Finish::careful ? saturate.round(value) : V::round(value);
    });
    const V::Int low = saturate.words(rounded[0], rounded[1]);
    const V::Int high = Vectors == 2 ? saturate.words(rounded[2 * Vectors - 2], rounded[2 * Vectors - 1]) : low;
    V::Int bytes = saturate.bytes(low, high);
    if (panel.table) bytes = V::lookup(panel.table, bytes);
    V::store(y + panel.column, bytes, count);
  }

  template <int Rows, int Vectors, bool HasResidual, Finish How>
  static FXQUANT_INLINE void store(const Acc (*acc)[Vectors], uint8_t* const* y, const uint8_t* const* residual,
                                   const Panel& panel) {
    unroll<Rows>([&](auto m)
                     FXQUANT_UNROLLED { store_row<Vectors, HasResidual, How>(acc[m], y[m], residual[m], panel); });
  }
};

}  // namespace
}  // namespace fxquant
