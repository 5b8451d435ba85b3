// Quads by zip1 and zip2, products by usdot.
#include "base/bytes_neon.h"
#include "depthwise/generic.h"

namespace fxquant {
namespace {

template <class Bytes>
struct Mixed : Bytes {
  using Int = typename Bytes::Int;
  static constexpr int kTogether = 4, kParts = 1;
  static void activations(Int quad, Int (&parts)[1]) { parts[0] = quad; }
  static void weights(Int quad, Int (&parts)[1]) { parts[0] = quad; }
  static void keep(Int&) {}
  static Int dot(Int acc, Int x, Int w) { return Bytes::from(vusdotq_s32(Bytes::s32(acc), x, vreinterpretq_s8_u8(w))); }
};

}  // namespace

void depthwise_strip_3x3_s1_neon_i8mm(const DepthwiseTask& task) { strip<Mixed, 3, 1>(task); }
void depthwise_strip_3x3_s2_neon_i8mm(const DepthwiseTask& task) { strip<Mixed, 3, 2>(task); }
void depthwise_strip_5x5_s1_neon_i8mm(const DepthwiseTask& task) { strip<Mixed, 5, 1>(task); }
void depthwise_strip_5x5_s2_neon_i8mm(const DepthwiseTask& task) { strip<Mixed, 5, 2>(task); }
void depthwise_any_neon_i8mm(const DepthwiseTask& task) { any<Mixed>(task); }

}  // namespace fxquant
