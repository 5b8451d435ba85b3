// As avx512vnni.cc with half the width and 16 registers: two columns together.
//
// FXQUANT_EVEX_VNNI compiles it for AVX512-VL machines, so that tests can run it where the VEX encoding is missing.
#include "base/bytes_avx2.h"
#include "depthwise/generic.h"

namespace fxquant {
namespace {

#ifdef FXQUANT_EVEX_VNNI
__m256i dpbusd(__m256i acc, __m256i x, __m256i w) { return _mm256_dpbusd_epi32(acc, x, w); }
__m128i dpbusd(__m128i acc, __m128i x, __m128i w) { return _mm_dpbusd_epi32(acc, x, w); }
#else
__m256i dpbusd(__m256i acc, __m256i x, __m256i w) { return _mm256_dpbusd_avx_epi32(acc, x, w); }
__m128i dpbusd(__m128i acc, __m128i x, __m128i w) { return _mm_dpbusd_avx_epi32(acc, x, w); }
#endif

template <class Bytes>
struct Vnni : Bytes {
  using Int = typename Bytes::Int;
  static constexpr int kTogether = 2, kParts = 1;
  static void activations(Int quad, Int (&parts)[1]) { parts[0] = quad; }
  static void weights(Int quad, Int (&parts)[1]) { parts[0] = quad; }
  static void keep(Int&) {}
  static Int dot(Int acc, Int x, Int w) { return dpbusd(acc, x, w); }
};

}  // namespace

void depthwise_strip_3x3_s1_avxvnni(const DepthwiseTask& task) { strip<Vnni, 3, 1>(task); }
void depthwise_strip_3x3_s2_avxvnni(const DepthwiseTask& task) { strip<Vnni, 3, 2>(task); }
void depthwise_strip_5x5_s1_avxvnni(const DepthwiseTask& task) { strip<Vnni, 5, 1>(task); }
void depthwise_strip_5x5_s2_avxvnni(const DepthwiseTask& task) { strip<Vnni, 5, 2>(task); }
void depthwise_any_avxvnni(const DepthwiseTask& task) { any<Vnni>(task); }

}  // namespace fxquant
