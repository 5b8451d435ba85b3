// exp of differences to a maximum, in float32 operations that every machine rounds alike:
//   2^t:  u = max(t, -60);  n = rne(u);  f = u - n;  2^n * (c0 + f * (c1 + f * (c2 + ...)))
// for t <= 0. With the coefficients of `kExponential` the relative error is below 1.1e-4, and 2^0 is exactly 1; those
// of kExponential65280 give 255 * 256 times that, and with those of kExponentialFine it is below 1.9e-7. NaN, as of the
// difference of two infinities, is 2^-60.
#pragma once
#include "base/unroll.h"

namespace fxquant {
namespace {

constexpr float kLog2E = 1.4426950408889634F;
constexpr float kExponential[4] = {1.0F, 0.6932829022407532F, 0.24221095442771912F, 0.05500892922282219F};
constexpr float kExponential65280[4] = {65280.0F, 256 * 176.78713989257812F, 256 * 61.7637939453125F,
                                        256 * 14.02727699279785F};
constexpr float kExponentialFine[6] = {1.0F,
                                       0.6931470036506653F,
                                       0.24022242426872253F,
                                       0.05550733581185341F,
                                       0.009671512991189957F,
                                       0.001326472731307149F};

template <class Lanes, int N>
FXQUANT_UNROLLED inline typename Lanes::F32 power_of_2(const typename Lanes::F32& t, const float (&c)[N]) {
  using L = Lanes;
  const auto u = L::greater(t, L::set(-60.0F));
  const auto n = L::nearest(u);
  const auto f = L::sub(u, n);
  auto sum = L::set(c[N - 1]);
  for (int k = N - 2; k >= 0; --k) sum = L::add(L::mul(sum, f), L::set(c[k]));
  return L::scaled(sum, n);
}

// The largest of `count` floats, a multiple of the lanes; -inf of none.
template <class Lanes>
inline float largest(const float* p, int64_t count) {
  constexpr int kTogether = 4;  // no vector waits for the one before
  typename Lanes::F32 most[kTogether];
  for (auto& each : most) each = Lanes::set(-__builtin_inff());
  int64_t i = 0;
  for (; i + kTogether * Lanes::kCount <= count; i += kTogether * Lanes::kCount) {
    unroll<kTogether>([&](auto v) FXQUANT_UNROLLED {
      most[v] = Lanes::greater(Lanes::load_f32(p + i + v * Lanes::kCount), most[v]);
    });
  }
  for (; i < count; i += Lanes::kCount) most[0] = Lanes::greater(Lanes::load_f32(p + i), most[0]);
  return Lanes::largest(Lanes::greater(Lanes::greater(most[0], most[1]), Lanes::greater(most[2], most[3])));
}

}  // namespace
}  // namespace fxquant
