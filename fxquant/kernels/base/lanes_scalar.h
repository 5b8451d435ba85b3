// One lane of float32 and its way from and to uint8: what every lanes_<isa>.h offers, so that a generic.h is written
// once.
//
//   kCount         lanes of F32; functions with a `count` in [1, kCount] touch only so many elements
//   load_u8        float(p[i])                     load_f32   p[i]
//   store_u8       round_and_saturate(v[i])        store_f32  v[i]
//   store4_u8      store_u8 of four F32 one after another
//   add .. div     each rounded to float32 on its own
//   multiply_add   a * b + c, rounded once
//   greater        a where a > b, else b: b if a is NaN; lesser likewise
//   upper          the one whose bits are larger as int32: of floats above 0 the larger, and a NaN is above all
//   lower          the one whose bits are larger as uint32: of floats below 0 the lesser, and a NaN is below all;
//                  any of them before one above 0
//   negative       -|v|
//   uppermost, lowermost, largest      upper and lower of all lanes; the largest lane, if none is NaN
//   sum            of all lanes: the upper half is added to the lower one until one is left
//   nearest        rounded to an integer, ties to even
//   scaled         v * 2^n for integers n, where the result is no denormal
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#include "base/requantize.h"

namespace fxquant {
namespace {

struct ScalarLanes {
  static constexpr int kCount = 1;
  using F32 = float;
  using Output = Requantize;

  static Output output(const Requantize& q) { return q; }
  static F32 set(float value) { return value; }
  static F32 load_u8(const uint8_t* p) { return static_cast<float>(*p); }
  static F32 load_u8(const uint8_t* p, int64_t) { return static_cast<float>(*p); }
  static F32 load_f32(const float* p) { return *p; }
  static F32 load_f32(const float* p, int64_t) { return *p; }
  static F32 add(F32 a, F32 b) { return a + b; }
  static F32 sub(F32 a, F32 b) { return a - b; }
  static F32 mul(F32 a, F32 b) { return a * b; }
  static F32 div(F32 a, F32 b) { return a / b; }
  static F32 multiply_add(F32 a, F32 b, F32 c) { return std::fma(a, b, c); }
  static F32 greater(F32 a, F32 b) { return a > b ? a : b; }
  static F32 lesser(F32 a, F32 b) { return a < b ? a : b; }
  static uint32_t bits(F32 v) {
    uint32_t value;
    std::memcpy(&value, &v, 4);
    return value;
  }
  static F32 upper(F32 a, F32 b) { return static_cast<int32_t>(bits(a)) > static_cast<int32_t>(bits(b)) ? a : b; }
  static F32 lower(F32 a, F32 b) { return bits(a) > bits(b) ? a : b; }
  static F32 negative(F32 v) { return -std::fabs(v); }
  static float uppermost(F32 v) { return v; }
  static float lowermost(F32 v) { return v; }
  static float largest(F32 v) { return v; }
  static float sum(F32 v) { return v; }
  static F32 nearest(F32 v) { return std::rint(v); }
  static F32 scaled(F32 v, F32 n) {
    const uint32_t sum = bits(v) + (static_cast<uint32_t>(static_cast<int32_t>(n)) << 23);
    std::memcpy(&v, &sum, 4);
    return v;
  }
  static void store_f32(float* p, F32 v) { *p = v; }
  static void store_f32(float* p, int64_t, F32 v) { *p = v; }
  static void store_u8(uint8_t* p, int64_t, F32 v, const Output& q) { *p = round_and_saturate(v, q); }
  static void store4_u8(uint8_t* p, const F32 (&v)[4], const Output& q) {
    for (int k = 0; k < 4; ++k) p[k] = round_and_saturate(v[k], q);
  }
};

}  // namespace
}  // namespace fxquant
