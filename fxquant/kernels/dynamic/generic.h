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
  void join(const Extremes& other) {
    high = L::greater(other.high, high);
    low = L::lesser(other.low, low);
    odd = L::add(other.odd, odd);
  }
  // The largest |x|.
  typename L::F32 magnitude() const { return L::greater(L::sub(L::set(0.0F), low), high); }
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
  for (int c = 1; c < kChains; ++c) chain[0].join(chain[c]);
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

template <class L>
constexpr DynamicKernels dynamic_table() {
  return {dynamic_range<L>, dynamic_quantize<L>};
}

}  // namespace
}  // namespace fxquant
