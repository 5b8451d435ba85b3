#include <cmath>

#include "base/lanes_scalar.h"
#include "weight_only/generic.h"
#include "weight_only/half.h"

namespace fxquant {
namespace {

struct ScalarFused : ScalarLanes {
  static constexpr int kVectors = 4, kRows = 2;

  static void widen(const int8_t* p, F32 (&w)[kVectors]) {
    for (int v = 0; v < kVectors; ++v) w[v] = static_cast<float>(p[v]);
  }
  static void widen(const uint16_t* p, F32 (&w)[kVectors]) {
    for (int v = 0; v < kVectors; ++v) w[v] = float_of_half(p[v]);
  }
  static F32 fma(F32 a, F32 b, F32 c) { return std::fma(a, b, c); }
  static F32 less(F32 a, F32 b) { return a < b ? a : b; }
};

}  // namespace

extern const WeightOnlyKernels weight_only_scalar;
const WeightOnlyKernels weight_only_scalar = weight_only_table<ScalarFused>();

}  // namespace fxquant
