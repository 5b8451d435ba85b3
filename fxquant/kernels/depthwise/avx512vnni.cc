// Quads by vpunpck{l,h}{bw,wd} (one a cycle), products by vpdpbusd (one or two a cycle, latency 4 to 5): 3 of them for
// 16 outputs of a 3x3 layer. Its quads and filters, 24 vectors, fit 32 registers; those of a 5x5 layer go through L1.
#include "base/bytes_avx512.h"
#include "depthwise/generic.h"

namespace fxquant {
namespace {

template <class Bytes>
struct Vnni : Bytes {
  using Int = typename Bytes::Int;
  static constexpr int kTogether = 4, kParts = 1;
  static void activations(Int quad, Int (&parts)[1]) { parts[0] = quad; }
  static void weights(Int quad, Int (&parts)[1]) { parts[0] = quad; }
  static FXQUANT_UNROLLED void keep(Int& value) { asm("" : "+v"(value)); }
  static __m512i dot(__m512i acc, __m512i x, __m512i w) { return _mm512_dpbusd_epi32(acc, x, w); }
  static __m256i dot(__m256i acc, __m256i x, __m256i w) { return _mm256_dpbusd_epi32(acc, x, w); }
  static __m128i dot(__m128i acc, __m128i x, __m128i w) { return _mm_dpbusd_epi32(acc, x, w); }
};

}  // namespace

void depthwise_slide_3x3_s1_avx512vnni(const DepthwiseTask& task) { slide<Vnni, 3, 1>(task); }
void depthwise_slide_3x3_s2_avx512vnni(const DepthwiseTask& task) { slide<Vnni, 3, 2>(task); }
void depthwise_strip_5x5_s1_avx512vnni(const DepthwiseTask& task) { strip<Vnni, 5, 1>(task); }
void depthwise_strip_5x5_s2_avx512vnni(const DepthwiseTask& task) { strip<Vnni, 5, 2>(task); }
void depthwise_any_avx512vnni(const DepthwiseTask& task) { any<Vnni>(task); }

}  // namespace fxquant
