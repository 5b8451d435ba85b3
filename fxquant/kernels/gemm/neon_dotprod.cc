// sdot by element: four columns times four bytes of a row, 16 multiply-adds, latency 3 to 4. Sixteen bytes of each row
// are loaded once for four steps; 24 accumulators, 6 rows, 1 to 2 weights. Its bytes are signed: the activations' top
// bits are flipped, see activation_offset.
#include <arm_neon.h>

#include <cstdint>

#include "gemm/neon.h"

namespace fxquant {
namespace {

struct NeonDotprod : Neon {
  using Row = int8x16_t;

  // By hand, since a constant of the compiler's would keep a register through the loop, and none is left.
  static FXQUANT_INLINE uint8x16_t top_bits() {
    uint8x16_t bits;
    asm volatile("movi %0.16b, #128" : "=w"(bits));
    return bits;
  }
  static FXQUANT_INLINE Row flipped(uint8x16_t bytes) { return vreinterpretq_s8_u8(veorq_u8(bytes, top_bits())); }
  static FXQUANT_INLINE Row one_step(uint32_t bytes) { return flipped(vreinterpretq_u8_u32(vdupq_n_u32(bytes))); }

  // One step of four k: they are element Step of every row.
  template <int Step, int Rows, int Vectors>
  static FXQUANT_INLINE void dot(Acc (&acc)[Rows][Vectors], const Row (&x)[Rows], const uint8_t*& weights,
                                 Ahead& ahead) {
    unroll<2 * Vectors>([&](auto q) FXQUANT_UNROLLED {
      const int8x16_t w = vreinterpretq_s8_u8(vld1q_u8(weights));
      weights += 16;
      unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
        int32x4_t& sum = acc[m][q / 2].quad[q % 2];
        sum = vdotq_laneq_s32(sum, w, x[m], Step);
        asm("" : "+w"(sum), "+r"(weights));  // in this order, or weights come early and take more registers
      });
    });
    fetch(ahead);
  }
};

template <>
struct Accumulate<NeonDotprod> {
  template <int Rows, int Vectors, bool Careful>
  static FXQUANT_INLINE void run(Neon::Acc (&acc)[Rows][Vectors], const InputRows& a, const Taps& taps,
                                 const uint8_t* weights, Ahead ahead) {
    const int64_t whole = Careful ? taps.bytes / 4 * 4 : (taps.bytes + 3) / 4 * 4;
    NeonDotprod::Row x[Rows];
    const auto load_rows = [&](const auto& load)
                               FXQUANT_UNROLLED { unroll<Rows>([&](auto m) FXQUANT_UNROLLED { x[m] = load(a[m]); }); };
    for (int64_t i = 0; i < taps.h; ++i) {
      for (int64_t j = 0; j < taps.w; ++j) {
        int64_t k = i * taps.stride_h + j * taps.stride_w;
        const int64_t end = k + whole;
        for (; k + 16 <= end; k += 16) {
          load_rows([&](const uint8_t* row) FXQUANT_UNROLLED { return NeonDotprod::flipped(vld1q_u8(row + k)); });
          unroll<4>([&](auto step) FXQUANT_UNROLLED { NeonDotprod::dot<step>(acc, x, weights, ahead); });
        }
        for (; k < end; k += 4) {
          load_rows([&](const uint8_t* row) FXQUANT_UNROLLED { return NeonDotprod::one_step(load_step(row + k)); });
          NeonDotprod::dot<0>(acc, x, weights, ahead);
        }
        if (Careful && whole < taps.bytes) {
          load_rows([&](const uint8_t* row)
                        FXQUANT_UNROLLED { return NeonDotprod::one_step(load_rest(row + end, taps.bytes - whole)); });
          NeonDotprod::dot<0>(acc, x, weights, ahead);
        }
      }
    }
  }
};

}  // namespace

void run_product_neon_dotprod(const Product& product, const RunPart& part) { Run<NeonDotprod>(product, part)(); }

}  // namespace fxquant
