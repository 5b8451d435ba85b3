// As avx512vnni.cc with half the width and 16 registers: two columns together.
#include "base/bytes_avx2.h"
#include "base/vnni_ymm.h"
#include "depthwise/generic.h"

namespace fxquant {
namespace {

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
