// Quads by vpunpck{l,h}{bw,wd} (one a cycle), products by vpdpbusd (one or two a cycle, latency 4 to 5): 3 of them for
// 16 outputs of a 3x3 layer. Its quads and filters, 24 vectors, fit 32 registers; those of a 5x5 layer go through L1.
#include "base/bytes_avx512.h"
#include "depthwise/generic.h"
#include "depthwise/slide.h"

namespace fxquant {
namespace {

template <class Bytes>
struct Vnni : Bytes {
  using Int = typename Bytes::Int;
  static constexpr int kTogether = 7, kParts = 1;
  static void activations(Int quad, Int (&parts)[1]) { parts[0] = quad; }
  static void weights(Int quad, Int (&parts)[1]) { parts[0] = quad; }
  static FXQUANT_UNROLLED void keep(Int& value) { asm("" : "+v"(value)); }
  static __m512i dot(__m512i acc, __m512i x, __m512i w) { return _mm512_dpbusd_epi32(acc, x, w); }
  static __m256i dot(__m256i acc, __m256i x, __m256i w) { return _mm256_dpbusd_epi32(acc, x, w); }
  static __m128i dot(__m128i acc, __m128i x, __m128i w) { return _mm_dpbusd_epi32(acc, x, w); }
};

// The channels of a narrow block for two pixels, one in each half.
struct Pixels2 : Bytes64Avx512 {
  static constexpr int kPixels = 2, kBlock = 32;
  using Narrow = Bytes32Avx512;
  static Int load_block(const uint8_t* p) { return _mm512_broadcast_i64x4(Narrow::load(p)); }
  static Float load_block_f32(const uint8_t* p) { return (Float)load_block(p); }
  static Int load_pixels(const uint8_t* const (&pixel)[2], int channels) {
    if (channels == kBlock && pixel[1] == pixel[0] + kBlock) return load(pixel[0]);
    const Int first = _mm512_castsi256_si512(Narrow::load(pixel[0], channels));
    return _mm512_inserti64x4(first, Narrow::load(pixel[1], channels), 1);
  }
  static void store_pixels(uint8_t* y, int64_t step, Int bytes, int channels, int pixels) {
    if (channels == kBlock && step == kBlock && pixels == 2) return store(y, bytes);
    Narrow::store(y, _mm512_castsi512_si256(bytes), channels);
    if (pixels == 2) Narrow::store(y + step, _mm512_extracti64x4_epi64(bytes, 1), channels);
  }
  template <int Pixels>
  static Int shifted(Int a, Int b) {
    return Pixels == 0 ? a : Pixels == 2 ? b : _mm512_alignr_epi64(b, a, 4);
  }
};

// For four pixels, one in each 128-bit lane.
struct Pixels4 : Bytes64Avx512 {
  static constexpr int kPixels = 4, kBlock = 16;
  using Narrow = Bytes16Avx512;
  static Int load_block(const uint8_t* p) { return _mm512_broadcast_i32x4(Narrow::load(p)); }
  static Float load_block_f32(const uint8_t* p) { return (Float)load_block(p); }
  static Int load_pixels(const uint8_t* const (&pixel)[4], int channels) {
    const __m128i lanes[4] = {Narrow::load(pixel[0], channels), Narrow::load(pixel[1], channels),
                              Narrow::load(pixel[2], channels), Narrow::load(pixel[3], channels)};
    const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(lanes[0]), lanes[1], 1);
    const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(lanes[2]), lanes[3], 1);
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
  }
  static void store_pixels(uint8_t* y, int64_t step, Int bytes, int channels, int pixels) {
    unroll<4>([&](auto p) FXQUANT_UNROLLED {
      if (p < pixels) Narrow::store(y + p * step, _mm512_extracti32x4_epi32(bytes, p), channels);
    });
  }
  template <int Pixels>
  static Int shifted(Int a, Int b) {
    return Pixels == 0 ? a : Pixels == 4 ? b : _mm512_alignr_epi64(b, a, 2 * Pixels);
  }
};

// For one.
struct Pixels1 : Whole<Bytes64Avx512> {
  static constexpr int kPixels = 1;
  static Int load_pixels(const uint8_t* const (&pixel)[1], int channels) { return load(pixel[0], channels); }
  static void store_pixels(uint8_t* y, int64_t, Int bytes, int channels, int) { store(y, bytes, channels); }
  template <int Pixels>
  static Int shifted(Int a, Int) {
    return a;
  }
};

// Two rows share the loads of narrow blocks, which a pixel each makes slow. A wide one gains nothing.
template <class Bytes, int Stride, Finish How>
void slide_rows(const DepthwiseTask& task) {
  constexpr int kTogether = Stride == 1 && Bytes::kPixels > 1 ? 2 : 1;
  const int64_t end = task.row_end - (task.row_end - task.row_begin) % kTogether;
  Slide<Vnni<Bytes>, Stride, kTogether, How>(task).run(task.row_begin, end);
  if (end < task.row_end) Slide<Vnni<Bytes>, Stride, 1, How>(task).run(end, task.row_end);
}

template <class Bytes, int Stride>
void slide(const DepthwiseTask& task) {
  with_finish(task, [&](auto how) { slide_rows<Bytes, Stride, how>(task); });
}

template <int Stride>
void slide(const DepthwiseTask& task) {
  if (task.width == Pixels4::kBlock) return slide<Pixels4, Stride>(task);
  if (task.width == Pixels2::kBlock) return slide<Pixels2, Stride>(task);
  slide<Pixels1, Stride>(task);
}

}  // namespace

void depthwise_slide_3x3_s1_avx512vnni(const DepthwiseTask& task) { slide<1>(task); }
void depthwise_slide_3x3_s2_avx512vnni(const DepthwiseTask& task) { slide<2>(task); }
void depthwise_strip_5x5_s1_avx512vnni(const DepthwiseTask& task) { strip<Vnni, 5, 1>(task); }
void depthwise_strip_5x5_s2_avx512vnni(const DepthwiseTask& task) { strip<Vnni, 5, 2>(task); }
void depthwise_any_avx512vnni(const DepthwiseTask& task) { any<Vnni>(task); }

}  // namespace fxquant
