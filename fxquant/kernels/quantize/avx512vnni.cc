#include "base/lanes_avx512.h"
#include "quantize/transpose.h"

namespace fxquant {
namespace {

struct Avx512Registers {
  using L = Avx512Lanes;
  using Bytes = __m512i;
  static constexpr int64_t kPixels = 16, kNarrowRoom = kPixels;

  static Bytes unpack_low32(Bytes a, Bytes b) { return _mm512_unpacklo_epi32(a, b); }
  static Bytes unpack_high32(Bytes a, Bytes b) { return _mm512_unpackhi_epi32(a, b); }
  static Bytes unpack_low64(Bytes a, Bytes b) { return _mm512_unpacklo_epi64(a, b); }
  static Bytes unpack_high64(Bytes a, Bytes b) { return _mm512_unpackhi_epi64(a, b); }
  static Bytes words(const __m512 (&values)[4], const L::Output& output) {
    const __m128i turn = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return _mm512_shuffle_epi8(L::pack(values, output), _mm512_broadcast_i32x4(turn));
  }
  static __m512 channel(Bytes words, int k) {
    const __m512i byte = _mm512_and_si512(_mm512_srli_epi32(words, 8 * k), _mm512_set1_epi32(255));
    return _mm512_cvtepi32_ps(byte);
  }
  static void store_pixels(uint8_t* y, int64_t stride, Bytes four, int64_t pixels, int64_t channels) {
    if (pixels > 0) L::store_bytes(y, channels, _mm512_castsi512_si128(four));
    if (pixels > 1) L::store_bytes(y + stride, channels, _mm512_extracti32x4_epi32(four, 1));
    if (pixels > 2) L::store_bytes(y + 2 * stride, channels, _mm512_extracti32x4_epi32(four, 2));
    if (pixels > 3) L::store_bytes(y + 3 * stride, channels, _mm512_extracti32x4_epi32(four, 3));
  }
  static __m128i load(const uint8_t* x, bool there, int64_t channels) {
    return _mm_maskz_loadu_epi8(there ? L::first(channels) : 0, x);
  }
  static Bytes load_pixels(const uint8_t* x, int64_t stride, int64_t pixels, int64_t channels) {
    Bytes four = _mm512_castsi128_si512(load(x, pixels > 0, channels));
    four = _mm512_inserti32x4(four, load(x + stride, pixels > 1, channels), 1);
    four = _mm512_inserti32x4(four, load(x + 2 * stride, pixels > 2, channels), 2);
    return _mm512_inserti32x4(four, load(x + 3 * stride, pixels > 3, channels), 3);
  }

  // vpermb (VBMI) moves the bytes of sixteen pixels together.
  struct Narrow {
    __m512i order;
    __mmask64 bytes;
    explicit Narrow(int64_t channels)
        : order(_mm512_loadu_si512(kNarrowOrder.of_channels[channels])), bytes(~0ULL >> (64 - kPixels * channels)) {}
    void store(uint8_t* y, Bytes words) const {
      _mm512_mask_storeu_epi8(y, bytes, _mm512_permutexvar_epi8(order, words));
    }
  };
};

}  // namespace

extern const QuantizeKernels quantize_avx512vnni;
const QuantizeKernels quantize_avx512vnni = transposing_table<Avx512Registers>();

}  // namespace fxquant
