// Quads by zip1 and zip2, products by sdot, which takes signed bytes: the top bits of a quad's activations are flipped,
// see activation_offset.
#include "base/bytes_neon.h"
#include "depthwise/generic.h"

namespace fxquant {
namespace {

template <class Bytes>
struct Signed : Bytes {
  using Int = typename Bytes::Int;
  static constexpr int kTogether = 4, kParts = 1;
  static void activations(Int quad, Int (&parts)[1]) { parts[0] = veorq_u8(quad, vdupq_n_u8(128)); }
  static void weights(Int quad, Int (&parts)[1]) { parts[0] = quad; }
  static void keep(Int&) {}
  static Int dot(Int acc, Int x, Int w) {
    return Bytes::from(vdotq_s32(Bytes::s32(acc), vreinterpretq_s8_u8(x), vreinterpretq_s8_u8(w)));
  }
};

}  // namespace

void depthwise_strip_3x3_s1_neon_dotprod(const DepthwiseTask& task) { strip<Signed, 3, 1>(task); }
void depthwise_strip_3x3_s2_neon_dotprod(const DepthwiseTask& task) { strip<Signed, 3, 2>(task); }
void depthwise_strip_5x5_s1_neon_dotprod(const DepthwiseTask& task) { strip<Signed, 5, 1>(task); }
void depthwise_strip_5x5_s2_neon_dotprod(const DepthwiseTask& task) { strip<Signed, 5, 2>(task); }
void depthwise_any_neon_dotprod(const DepthwiseTask& task) { any<Signed>(task); }

}  // namespace fxquant
