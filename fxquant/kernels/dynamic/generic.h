// The range of a row, and its codes, on the lanes L of an ISA (base/lanes_<isa>.h). Included by ISA files only.
#pragma once
#include "base/lanes_scalar.h"
#include "base/unroll.h"
#include "dynamic/dynamic.h"

namespace fxquant {
namespace {

// Chains of comparisons, so that one need not wait for the one before.
constexpr int kChains = 4;

template <class L>
struct Extremes {
  // high: the largest x, or 0; low: the least, or 0; odd: 0, or NaN once a NaN or an infinity was seen.
  typename L::F32 high = L::set(0.0F), low = L::set(0.0F), odd = L::set(0.0F);

  FXQUANT_UNROLLED void take(typename L::F32 x) {
    high = L::greater(x, high);
    low = L::lesser(x, low);
    odd = L::multiply_add(x, L::set(0.0F), odd);
  }
};

// NaN, or 0 if no lane of `odd`, which are NaN or 0, is NaN.
template <class L>
float oddness(typename L::F32 odd) {
  const float any = L::largest(L::sub(L::set(0.0F), L::greater(odd, L::set(-1.0F))));
  return any > 0.0F ? __builtin_nanf("") : 0.0F;
}

template <class L>
Range dynamic_range(const float* x, int64_t count) {
  Extremes<L> chain[kChains];
  int64_t i = 0;
  for (; i + kChains * L::kCount <= count; i += kChains * L::kCount) {
    unroll<kChains>([&](auto c) FXQUANT_UNROLLED { chain[c].take(L::load_f32(x + i + c * L::kCount)); });
  }
  for (; i < count; i += L::kCount) {
    chain[0].take(count - i < L::kCount ? L::load_f32(x + i, count - i) : L::load_f32(x + i));
  }
  for (int c = 1; c < kChains; ++c) {
    chain[0].high = L::greater(chain[c].high, chain[0].high);
    chain[0].low = L::lesser(chain[c].low, chain[0].low);
    chain[0].odd = L::add(chain[c].odd, chain[0].odd);
  }
  const float low = L::largest(L::sub(L::set(0.0F), chain[0].low));
  return {oddness<L>(chain[0].odd) - low, L::largest(chain[0].high)};
}

template <class L>
void quantize_row(uint8_t* q, const float* x, int64_t count, typename L::F32 inverse,
                  const typename L::Output& output) {
  constexpr int64_t kBlock = 4 * L::kCount;
  int64_t i = 0;
  for (; i + kBlock <= count; i += kBlock) {
    typename L::F32 values[4];
    unroll<4>([&](auto k) FXQUANT_UNROLLED { values[k] = L::mul(L::load_f32(x + i + k * L::kCount), inverse); });
    L::store4_u8(q + i, values, output);
  }
  for (; i < count; i += L::kCount) {
    const int64_t left = count - i < L::kCount ? count - i : L::kCount;
    L::store_u8(q + i, left, L::mul(L::load_f32(x + i, left), inverse), output);
  }
}

template <class L>
void dynamic_quantize(uint8_t* q, const float* x, int64_t count, const RowTerms& terms, const Levels& levels) {
  const auto output = L::output({terms.zero_point, levels.quant_min, levels.quant_max});
  quantize_row<L>(q, x, count, L::set(1.0F / terms.scale), output);
}

// `bias` as a multiple of the step of the sums, by an int32.
template <class L>
FXQUANT_UNROLLED inline typename L::F32 integer_bias(typename L::F32 bias, typename L::F32 sums_step) {
  const typename L::F32 size = L::greater(bias, L::sub(L::set(0.0F), bias));
  const typename L::F32 widest = L::greater(L::mul(size, L::set(0x1p-30F)), L::set(0x1p-126F));
  const typename L::F32 step = L::greater(sums_step, widest);
  return L::mul(L::nearest(L::div(bias, step)), step);
}

template <class L>
void add_integer_bias(float* y, int64_t count, float scale, const IntegerBias& b) {
  const auto row = L::set(scale), low = L::set(b.output.low), high = L::set(b.output.high);
  for (int64_t i = 0; i < count; i += L::kCount) {
    const int64_t left = count - i < L::kCount ? count - i : L::kCount;
    const auto bias = integer_bias<L>(L::load_f32(b.bias + i, left), L::mul(row, L::load_f32(b.multiplier + i, left)));
    const auto sum = L::add(L::load_f32(y + i, left), bias);
    L::store_f32(y + i, left, L::lesser(high, L::greater(low, sum)));
  }
}

template <class L>
constexpr DynamicKernels dynamic_table() {
  return {dynamic_range<L>, dynamic_quantize<L>, add_integer_bias<L>};
}

}  // namespace
}  // namespace fxquant
