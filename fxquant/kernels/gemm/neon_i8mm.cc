// usmmla: two rows times two columns, eight bytes deep, 32 multiply-adds. An accumulator is a block of 2 x 2 outputs:
// a tile of 6 x 16 has 24 of them, beside 3 pairs of rows and 1 to 2 pairs of columns. An odd last row is its own
// partner.
#include <arm_neon.h>

#include <cstdint>

#include "gemm/neon.h"

namespace fxquant {
namespace {

struct NeonI8mm : Neon {};

FXQUANT_INLINE int32x4_t lower(int32x4_t a, int32x4_t b) {
  return vreinterpretq_s32_s64(vzip1q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b)));
}

FXQUANT_INLINE int32x4_t upper(int32x4_t a, int32x4_t b) {
  return vreinterpretq_s32_s64(vzip2q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b)));
}

// The accumulators of a tile: block[p][c] has rows 2 * p and 2 * p + 1 of columns 2 * c and 2 * c + 1.
template <int Rows, int Vectors>
struct Blocks {
  static constexpr int kPairs = (Rows + 1) / 2;
  int32x4_t block[kPairs][4 * Vectors];

  static constexpr int second_row(int pair) { return 2 * pair + 1 < Rows ? 2 * pair + 1 : 2 * pair; }

  explicit FXQUANT_INLINE Blocks(const Neon::Acc (&acc)[Rows][Vectors]) {
    unroll<kPairs>([&](auto p) FXQUANT_UNROLLED {
      unroll<2 * Vectors>([&](auto q) FXQUANT_UNROLLED {
        const int32x4_t first = acc[2 * p][q / 2].quad[q % 2], second = acc[second_row(p)][q / 2].quad[q % 2];
        block[p][2 * q] = lower(first, second);
        block[p][2 * q + 1] = upper(first, second);
      });
    });
  }

  FXQUANT_INLINE void write(Neon::Acc (&acc)[Rows][Vectors]) const {
    unroll<kPairs>([&](auto p) FXQUANT_UNROLLED {
      unroll<2 * Vectors>([&](auto q) FXQUANT_UNROLLED {
        acc[second_row(p)][q / 2].quad[q % 2] = upper(block[p][2 * q], block[p][2 * q + 1]);
        acc[2 * p][q / 2].quad[q % 2] = lower(block[p][2 * q], block[p][2 * q + 1]);
      });
    });
  }

  // One step of eight k; load(row) yields those of a row.
  template <class Load>
  FXQUANT_INLINE void step(const InputRows& a, const uint8_t*& weights, const Load& load) {
    uint8x16_t x[kPairs];
    unroll<kPairs>([&](auto p) FXQUANT_UNROLLED { x[p] = vcombine_u8(load(a[2 * p]), load(a[second_row(p)])); });
    unroll<4 * Vectors>([&](auto c) FXQUANT_UNROLLED {
      const int8x16_t w = vreinterpretq_s8_u8(vld1q_u8(weights + 16 * c));
      unroll<kPairs>([&](auto p) FXQUANT_UNROLLED { block[p][c] = vusmmlaq_s32(block[p][c], x[p], w); });
    });
    weights += 64 * Vectors;
  }
};

template <>
struct Accumulate<NeonI8mm> {
  template <int Rows, int Vectors, bool Careful>
  static FXQUANT_INLINE void run(Neon::Acc (&acc)[Rows][Vectors], const InputRows& a, const Taps& taps,
                                 const uint8_t* weights, Ahead ahead) {
    Blocks<Rows, Vectors> blocks(acc);
    const int64_t whole = Careful ? taps.bytes / 8 * 8 : (taps.bytes + 7) / 8 * 8;
    for (int64_t i = 0; i < taps.h; ++i) {
      for (int64_t j = 0; j < taps.w; ++j) {
        const int64_t begin = i * taps.stride_h + j * taps.stride_w, end = begin + whole;
        for (int64_t k = begin; k < end; k += 8) {
          blocks.step(a, weights, [&](const uint8_t* row) FXQUANT_UNROLLED { return vld1_u8(row + k); });
          fetch(ahead);
        }
        if (Careful && whole < taps.bytes) {
          blocks.step(a, weights, [&](const uint8_t* row) FXQUANT_UNROLLED {
            return vcreate_u8(load_bytes(row + end, taps.bytes - whole));
          });
        }
      }
    }
    blocks.write(acc);
  }
};

}  // namespace

void run_product_neon_i8mm(const Product& product, const RunPart& part) { Run<NeonI8mm>(product, part)(); }

}  // namespace fxquant
