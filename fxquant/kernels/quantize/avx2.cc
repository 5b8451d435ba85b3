#include "base/lanes_avx2.h"
#include "quantize/transpose.h"

namespace fxquant {
namespace {

struct Avx2Registers {
  using L = Avx2Lanes;
  using Bytes = __m256i;
  // A narrow store writes up to 8 bytes more than its 8 pixels, which have to be the pixels that follow.
  static constexpr int64_t kPixels = 8, kNarrowRoom = 2 * kPixels;

  static Bytes unpack_low32(Bytes a, Bytes b) { return _mm256_unpacklo_epi32(a, b); }
  static Bytes unpack_high32(Bytes a, Bytes b) { return _mm256_unpackhi_epi32(a, b); }
  static Bytes unpack_low64(Bytes a, Bytes b) { return _mm256_unpacklo_epi64(a, b); }
  static Bytes unpack_high64(Bytes a, Bytes b) { return _mm256_unpackhi_epi64(a, b); }
  static Bytes words(const __m256 (&values)[4], const L::Output& output) {
    const __m128i turn = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return _mm256_shuffle_epi8(L::pack(values, output), _mm256_broadcastsi128_si256(turn));
  }
  static __m256 channel(Bytes words, int k) {
    const __m256i byte = _mm256_and_si256(_mm256_srli_epi32(words, 8 * k), _mm256_set1_epi32(255));
    return _mm256_cvtepi32_ps(byte);
  }
  static void store(uint8_t* y, __m128i pixel, int64_t channels) {
    if (channels == kTileChannels) return _mm_storeu_si128(reinterpret_cast<__m128i*>(y), pixel);
    store_bytes(y, channels, static_cast<uint64_t>(_mm_cvtsi128_si64(pixel)));
    if (channels > 8) store_bytes(y + 8, channels - 8, static_cast<uint64_t>(_mm_extract_epi64(pixel, 1)));
  }
  static void store_pixels(uint8_t* y, int64_t stride, Bytes two, int64_t pixels, int64_t channels) {
    if (pixels > 0) store(y, _mm256_castsi256_si128(two), channels);
    if (pixels > 1) store(y + stride, _mm256_extracti128_si256(two, 1), channels);
  }
  static __m128i load(const uint8_t* x, bool there, int64_t channels) {
    if (!there) return _mm_setzero_si128();
    if (channels == kTileChannels) return _mm_loadu_si128(reinterpret_cast<const __m128i*>(x));
    const uint64_t high = channels > 8 ? load_bytes(x + 8, channels - 8) : 0;
    return _mm_set_epi64x(static_cast<int64_t>(high), static_cast<int64_t>(load_bytes(x, channels)));
  }
  static Bytes load_pixels(const uint8_t* x, int64_t stride, int64_t pixels, int64_t channels) {
    const __m256i first = _mm256_castsi128_si256(load(x, pixels > 0, channels));
    return _mm256_inserti128_si256(first, load(x + stride, pixels > 1, channels), 1);
  }

  // Each half holds four pixels: the second store covers what the first wrote beyond its own.
  struct Narrow {
    __m128i order;
    int64_t half;
    explicit Narrow(int64_t channels)
        : order(_mm_loadu_si128(reinterpret_cast<const __m128i*>(kNarrowOrder.of_channels[channels]))),
          half(4 * channels) {}
    void store(uint8_t* y, Bytes words) const {
      const __m128i low = _mm256_castsi256_si128(words), high = _mm256_extracti128_si256(words, 1);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(y), _mm_shuffle_epi8(low, order));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(y + half), _mm_shuffle_epi8(high, order));
    }
  };
};

}  // namespace

extern const QuantizeKernels quantize_avx2;
const QuantizeKernels quantize_avx2 = transposing_table<Avx2Registers>();

}  // namespace fxquant
