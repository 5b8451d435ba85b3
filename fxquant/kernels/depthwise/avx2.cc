// No exact product of bytes: a quad is held as its even and its odd bytes, widened to 16 bits, and vpmaddwd sums two
// taps.
#include "base/bytes_avx2.h"
#include "depthwise/generic.h"

namespace fxquant {
namespace {

template <class Bytes>
struct Pairs : Bytes {
  using Int = typename Bytes::Int;
  static constexpr int kTogether = 2, kParts = 2;
  static void activations(Int quad, Int (&parts)[2]) {
    parts[0] = Bytes::bytes_even_u8(quad);
    parts[1] = Bytes::bytes_odd_u8(quad);
  }
  static void weights(Int quad, Int (&parts)[2]) {
    parts[0] = Bytes::bytes_even_s8(quad);
    parts[1] = Bytes::bytes_odd_s8(quad);
  }
  static void keep(Int&) {}
  static Int dot(Int acc, Int x, Int w) { return Bytes::add_32(acc, Bytes::madd_16(x, w)); }
};

}  // namespace

void depthwise_strip_3x3_s1_avx2(const DepthwiseTask& task) { strip<Pairs, 3, 1>(task); }
void depthwise_strip_3x3_s2_avx2(const DepthwiseTask& task) { strip<Pairs, 3, 2>(task); }
void depthwise_strip_5x5_s1_avx2(const DepthwiseTask& task) { strip<Pairs, 5, 1>(task); }
void depthwise_strip_5x5_s2_avx2(const DepthwiseTask& task) { strip<Pairs, 5, 2>(task); }
void depthwise_any_avx2(const DepthwiseTask& task) { any<Pairs>(task); }

}  // namespace fxquant
