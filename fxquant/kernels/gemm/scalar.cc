// The product in plain C++, for machines without any of the instruction sets below.
#include <cstdint>

#include "gemm/generic.h"

namespace fxquant {
namespace {

struct Scalar {
  static constexpr int kRows = 1, kLanes = 16, kVectors = 1, kStepBytes = 64;
  template <int Vectors>
  static constexpr int kStoredRows = 2;
  template <int Vectors>
  static constexpr int kPipelinedRows = 0;
  static constexpr bool kSpreads = false, kHalves = false, kAdds = false;
  struct Acc {
    int32_t lane[kLanes];
  };
  using Activations = uint32_t;
  using Weights = const int8_t*;

  static FXQUANT_INLINE Acc load(const int32_t* p) {
    Acc acc;
    for (int i = 0; i < kLanes; ++i) acc.lane[i] = p[i];
    return acc;
  }
  static FXQUANT_INLINE Activations broadcast(uint32_t bytes) { return bytes; }
  static FXQUANT_INLINE Weights weights(const uint8_t* p) { return reinterpret_cast<const int8_t*>(p); }
  static FXQUANT_INLINE Acc dot(Acc acc, Activations x, Weights w) {
    for (int k = 0; k < 4; ++k, x >>= 8, w += kLanes) {
      const int16_t byte = x & 255;
      for (int i = 0; i < kLanes; ++i) acc.lane[i] += static_cast<int16_t>(byte * w[i]);  // at most 255 * 128
    }
    return acc;
  }
  static FXQUANT_INLINE Acc times(const int32_t* p, int32_t factor) {
    Acc acc;
    for (int i = 0; i < kLanes; ++i) acc.lane[i] = p[i] * factor;
    return acc;
  }
  static void store_floats(const Acc& acc, int, const Panel& panel, float scale, float* to) {
    for (int i = 0; i < kLanes; ++i) {
      to[i] = to_float(acc.lane[i], scale, panel.multiplier[i], panel.float_bias[i], panel.float_output);
    }
  }
  template <int Rows, int Vectors, bool HasResidual, Finish How>
  static void store(const Acc (*acc)[Vectors], uint8_t* const* y, const uint8_t* const* residual, const Panel& panel) {
    for (int i = 0; i < panel.columns; ++i) {
      const float term = HasResidual ? residual_term(residual[0][panel.column + i], panel.residual) : 0.0F;
      const uint8_t q = requantize(acc[0][0].lane[i], panel.multiplier[i], term, panel.output);
      y[0][panel.column + i] = panel.table ? panel.table[q] : q;
    }
  }
};

}  // namespace

void run_product_scalar(const Product& product, const RunPart& part) { Run<Scalar>(product, part)(); }

}  // namespace fxquant
