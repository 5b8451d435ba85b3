#include "base/bytes_neon.h"
#include "base/lanes_neon.h"
#include "quantize/transpose.h"

namespace fxquant {
namespace {

struct NeonRegisters {
  using L = NeonLanes;
  using Bytes = uint8x16_t;
  using V = BytesNeon;
  // A narrow store writes up to 8 bytes more than its 4 pixels, which have to be the pixels that follow.
  static constexpr int64_t kPixels = 4, kNarrowRoom = 2 * kPixels;

  static Bytes unpack_low32(Bytes a, Bytes b) { return V::from(vzip1q_u32(V::u32(a), V::u32(b))); }
  static Bytes unpack_high32(Bytes a, Bytes b) { return V::from(vzip2q_u32(V::u32(a), V::u32(b))); }
  static Bytes unpack_low64(Bytes a, Bytes b) {
    return vreinterpretq_u8_u64(vzip1q_u64(vreinterpretq_u64_u8(a), vreinterpretq_u64_u8(b)));
  }
  static Bytes unpack_high64(Bytes a, Bytes b) {
    return vreinterpretq_u8_u64(vzip2q_u64(vreinterpretq_u64_u8(a), vreinterpretq_u64_u8(b)));
  }
  static Bytes words(const float32x4_t (&values)[4], const L::Output& output) { return L::pack(values, output); }
  static float32x4_t channel(Bytes words, int k) {
    return vcvtq_f32_u32(vandq_u32(V::u32(V::right_32(words, 8 * k)), vdupq_n_u32(255)));
  }
  static void store_pixels(uint8_t* y, int64_t, Bytes one, int64_t pixels, int64_t channels) {
    if (pixels > 0) V::store(y, one, static_cast<int>(channels));
  }
  static Bytes load_pixels(const uint8_t* x, int64_t, int64_t pixels, int64_t channels) {
    return pixels > 0 ? V::load(x, static_cast<int>(channels)) : V::zero();
  }

  struct Narrow {
    uint8x16_t order;
    explicit Narrow(int64_t channels) : order(vld1q_u8(kNarrowOrder.of_channels[channels])) {}
    void store(uint8_t* y, Bytes words) const { vst1q_u8(y, vqtbl1q_u8(words, order)); }
  };
};

}  // namespace

extern const QuantizeKernels quantize_neon_dotprod;
const QuantizeKernels quantize_neon_dotprod = transposing_table<NeonRegisters>();

}  // namespace fxquant
