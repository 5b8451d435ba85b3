// The arithmetic of floats.h, over the lanes L of an ISA (base/lanes_<isa>.h); with ScalarLanes it is the reference's.
#pragma once
#include "base/lanes_scalar.h"
#include "base/unroll.h"
#include "floats/floats.h"

namespace fxquant {
namespace {

constexpr float kLog2OfE = 1.4426950408889634F;
// Taylor's coefficients of 2^f, log(2)^i / i!: for |f| <= 1/2 the relative error is below 2e-7.
constexpr float kPowerOf2[7] = {
    1.0F, 0.6931471806F, 0.2402265070F, 0.05550410866F, 0.009618129108F, 0.001333355815F, 0.0001540353039F};
// exp2 of anything below is 0.
constexpr float kLowestPower = -100.0F, kSmallest = 0x1p-100F;

// exp2(t) of t <= 0: 2^n * polynomial(t - n) - 2^-100 with n = rne(t). A NaN stays one.
template <class L>
FXQUANT_UNROLLED inline typename L::F32 float_exp2(typename L::F32 t) {
  const auto u = L::greater(L::set(kLowestPower), t);
  const auto n = L::nearest(u);
  const auto f = L::sub(u, n);
  auto sum = L::set(kPowerOf2[6]);
  unroll<6>([&](auto i) FXQUANT_UNROLLED { sum = L::multiply_add(sum, f, L::set(kPowerOf2[5 - i])); });
  return L::sub(L::scaled(sum, n), L::set(kSmallest));
}

// gelu(x) = max(x, 0) + n * tail(n), n = max(-|x|, -kTailEnd), where tail(n) is the integral of the normal distribution
// up to n, as ((n + kTailEnd) * polynomial(n))^16: of such a power the root is so smooth that five coefficients will do
// (Abramowitz and Stegun 7.1.28 has one of the inverse). They are what n * tail(n) is off by the least for, 6e-7
// (Lawson 1961, on linearizations in the coefficients).
constexpr float kTailEnd = 8.5F;
constexpr int kTailSquarings = 4;
constexpr float kTail[5] = {0.1126594992F, -0.007632787806F, -0.001191979856F, 0.0003048191429F, 4.57275309e-05F};

template <class L>
FXQUANT_UNROLLED inline typename L::F32 gelu_of(const typename L::F32& x) {
  const auto zero = L::set(0.0F);
  const auto n = L::greater(L::set(-kTailEnd), L::lesser(x, L::sub(zero, x)));
  auto sum = L::set(kTail[4]);
  unroll<4>([&](auto i) FXQUANT_UNROLLED { sum = L::multiply_add(sum, n, L::set(kTail[3 - i])); });
  auto tail = L::mul(sum, L::add(n, L::set(kTailEnd)));
  unroll<kTailSquarings>([&](auto) FXQUANT_UNROLLED { tail = L::mul(tail, tail); });
  return L::multiply_add(n, tail, L::greater(x, zero));
}

// x * sigmoid(t) = x / (1 + exp(-t)) of a t that has the sign of x, from n = -|t| * log2(e):
// (max(x, 0) + min(x, 0) * e) / (1 + e), e = exp(-|t|), which cannot overflow.
template <class L>
FXQUANT_UNROLLED inline typename L::F32 times_sigmoid(const typename L::F32& x, const typename L::F32& n) {
  const auto zero = L::set(0.0F);
  const auto e = float_exp2<L>(n);
  const auto weighted = L::add(L::greater(x, zero), L::mul(L::lesser(x, zero), e));
  return L::div(weighted, L::add(L::set(1.0F), e));
}

template <class L>
FXQUANT_UNROLLED inline typename L::F32 silu_of(const typename L::F32& x) {
  return times_sigmoid<L>(x, L::mul(L::lesser(x, L::sub(L::set(0.0F), x)), L::set(kLog2OfE)));
}

// gelu_tanh(x) = x / 2 * (1 + tanh(u)) = x * sigmoid(2 * u), u = sqrt(2 / pi) * (x + 0.044715 * x^3).
constexpr float kGeluLinear = 2.3022081986F, kGeluCubic = 0.1029432396F;  // 2 * sqrt(2 / pi) * log2(e), times 0.044715

template <class L>
FXQUANT_UNROLLED inline typename L::F32 gelu_tanh_of(const typename L::F32& x) {
  const auto slope = L::add(L::mul(L::mul(x, x), L::set(kGeluCubic)), L::set(kGeluLinear));
  return times_sigmoid<L>(x, L::mul(L::lesser(x, L::sub(L::set(0.0F), x)), slope));
}

// The functions of one number, as classes.
struct Gelu {
  template <class L>
  static FXQUANT_UNROLLED inline typename L::F32 of(const typename L::F32& x) {
    return gelu_of<L>(x);
  }
};

struct GeluTanh {
  template <class L>
  static FXQUANT_UNROLLED inline typename L::F32 of(const typename L::F32& x) {
    return gelu_tanh_of<L>(x);
  }
};

struct Silu {
  template <class L>
  static FXQUANT_UNROLLED inline typename L::F32 of(const typename L::F32& x) {
    return silu_of<L>(x);
  }
};

template <class L>
FXQUANT_UNROLLED inline typename L::F32 normalized(typename L::F32 x, typename L::F32 mean, typename L::F32 inverse,
                                                   typename L::F32 weight, typename L::F32 bias) {
  return L::add(L::mul(L::mul(L::sub(x, mean), inverse), weight), bias);
}

// The sum of value(lanes, i), i < count, a vector from element i on of whichever lanes.
template <class L, class Value>
inline float sum_of(int64_t count, const Value& value) {
  constexpr int kVectors = kPartials / L::kCount;
  typename L::F32 sums[kVectors];
  for (auto& sum : sums) sum = L::set(0.0F);
  int64_t i = 0;
  for (; i + kPartials <= count; i += kPartials) {
    unroll<kVectors>([&](auto v) FXQUANT_UNROLLED { sums[v] = L::add(sums[v], value(L{}, i + v * L::kCount)); });
  }
  if (i < count) {
    float partial[kPartials];
    unroll<kVectors>([&](auto v) FXQUANT_UNROLLED { L::store_f32(partial + v * L::kCount, sums[v]); });
    for (; i < count; ++i) partial[i % kPartials] += value(ScalarLanes{}, i);
    unroll<kVectors>([&](auto v) FXQUANT_UNROLLED { sums[v] = L::load_f32(partial + v * L::kCount); });
  }
  for (int half = kVectors / 2; half > 0; half /= 2) {
    for (int v = 0; v < half; ++v) sums[v] = L::add(sums[v], sums[v + half]);
  }
  return L::sum(sums[0]);
}

template <class L>
inline float mean_of_row(const float* x, int64_t count) {
  const auto n = static_cast<float>(count);
  return sum_of<L>(count, [=](auto lanes, int64_t i) FXQUANT_UNROLLED { return decltype(lanes)::load_f32(x + i); }) / n;
}

// 1 / sqrt(variance + eps)
template <class L>
inline float inverse_of_row(const float* x, int64_t count, float mean, float eps) {
  const float squares = sum_of<L>(count, [=](auto lanes, int64_t i) FXQUANT_UNROLLED {
    using Any = decltype(lanes);
    const auto centered = Any::sub(Any::load_f32(x + i), Any::set(mean));
    return Any::mul(centered, centered);
  });
  return 1.0F / __builtin_sqrtf(squares / static_cast<float>(count) + eps);
}

}  // namespace
}  // namespace fxquant
