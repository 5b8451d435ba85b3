// N vectors of the lanes L as one: of a chain of operations each is done for all of them before the next one, so that
// a CPU need not wait for the one before.
#pragma once
#include "base/unroll.h"

namespace fxquant {
namespace {

template <class L, int N>
struct Several {
  static constexpr int kCount = N * L::kCount;
  struct F32 {
    typename L::F32 v[N];
  };

  template <class Result>
  static FXQUANT_UNROLLED inline F32 each(const Result& result) {
    F32 all;
    unroll<N>([&](auto i) FXQUANT_UNROLLED { all.v[i] = result(i); });
    return all;
  }
  static FXQUANT_UNROLLED inline F32 set(float value) {
    return each([&](auto) FXQUANT_UNROLLED { return L::set(value); });
  }
  static FXQUANT_UNROLLED inline F32 load_f32(const float* p) {
    return each([&](auto i) FXQUANT_UNROLLED { return L::load_f32(p + i * L::kCount); });
  }
  static FXQUANT_UNROLLED inline void store_f32(float* p, const F32& a) {
    unroll<N>([&](auto i) FXQUANT_UNROLLED { L::store_f32(p + i * L::kCount, a.v[i]); });
  }
  static FXQUANT_UNROLLED inline F32 add(const F32& a, const F32& b) {
    return each([&](auto i) FXQUANT_UNROLLED { return L::add(a.v[i], b.v[i]); });
  }
  static FXQUANT_UNROLLED inline F32 sub(const F32& a, const F32& b) {
    return each([&](auto i) FXQUANT_UNROLLED { return L::sub(a.v[i], b.v[i]); });
  }
  static FXQUANT_UNROLLED inline F32 mul(const F32& a, const F32& b) {
    return each([&](auto i) FXQUANT_UNROLLED { return L::mul(a.v[i], b.v[i]); });
  }
  static FXQUANT_UNROLLED inline F32 div(const F32& a, const F32& b) {
    return each([&](auto i) FXQUANT_UNROLLED { return L::div(a.v[i], b.v[i]); });
  }
  static FXQUANT_UNROLLED inline F32 greater(const F32& a, const F32& b) {
    return each([&](auto i) FXQUANT_UNROLLED { return L::greater(a.v[i], b.v[i]); });
  }
  static FXQUANT_UNROLLED inline F32 lesser(const F32& a, const F32& b) {
    return each([&](auto i) FXQUANT_UNROLLED { return L::lesser(a.v[i], b.v[i]); });
  }
  static FXQUANT_UNROLLED inline F32 multiply_add(const F32& a, const F32& b, const F32& c) {
    return each([&](auto i) FXQUANT_UNROLLED { return L::multiply_add(a.v[i], b.v[i], c.v[i]); });
  }
  static FXQUANT_UNROLLED inline F32 nearest(const F32& a) {
    return each([&](auto i) FXQUANT_UNROLLED { return L::nearest(a.v[i]); });
  }
  static FXQUANT_UNROLLED inline F32 scaled(const F32& a, const F32& n) {
    return each([&](auto i) FXQUANT_UNROLLED { return L::scaled(a.v[i], n.v[i]); });
  }
};

}  // namespace
}  // namespace fxquant
