// Two codes of a byte are put side by side by a shift within 16 bits.
#include "base/lanes_neon.h"
#include "embedding/generic.h"

namespace fxquant {
namespace {

struct Lanes : NeonLanes {
  static F32 from_u4(uint64_t bytes) {
    const uint16x8_t words = vmovl_u8(vcreate_u8(bytes));
    const uint8x16_t codes = vreinterpretq_u8_u16(vorrq_u16(words, vshlq_n_u16(words, 4)));
    const uint8x8_t low = vget_low_u8(vandq_u8(codes, vdupq_n_u8(15)));
    return vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(low))));
  }
  static F32 load_u4(const uint8_t* p, int64_t at) { return from_u4(load_as<uint16_t>(p + at / 2)); }
  static F32 load_u4_of(const uint8_t* p, int64_t count) { return from_u4(load_bytes(p, (count + 1) / 2)); }
};

}  // namespace

extern const EmbeddingKernels embedding_neon_dotprod;
const EmbeddingKernels embedding_neon_dotprod = embedding_table<Lanes>();

}  // namespace fxquant
