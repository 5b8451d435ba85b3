// The range of a row, and its codes, on the lanes L of an ISA (base/lanes_<isa>.h). Included by ISA files only.
#pragma once
#include "base/lanes_scalar.h"
#include "base/unroll.h"
#include "dynamic/dynamic.h"

namespace fxquant {
namespace {

// Chains of comparisons, so that one need not wait for the one before.
constexpr int kChains = 4;

// No number but NaN or an infinity is as large.
inline bool is_finite(float x) { return __builtin_fabsf(x) < __builtin_inff(); }

// `v`, in a register: a compiler would rather read it from memory for each use.
template <class T>
FXQUANT_UNROLLED inline T loaded(T v) {
#if defined(__x86_64__)
  asm("" : "+x"(v));
#elif defined(__aarch64__)
  asm("" : "+w"(v));
#endif
  return v;
}

template <class L>
Range dynamic_range(const float* x, int64_t count) {
  typename L::F32 high[kChains], low[kChains];
  unroll<kChains>([&](auto c) FXQUANT_UNROLLED { high[c] = low[c] = L::set(0.0F); });
  const auto take = [&](auto c, typename L::F32 read) FXQUANT_UNROLLED {
    const typename L::F32 v = loaded(read);
    high[c] = L::upper(v, high[c]);
    low[c] = L::lower(v, low[c]);
  };
  int64_t i = 0;
  for (; i + kChains * L::kCount <= count; i += kChains * L::kCount) {
    unroll<kChains>([&](auto c) FXQUANT_UNROLLED { take(c, L::load_f32(x + i + c * L::kCount)); });
  }
  for (; i < count; i += L::kCount) {
    take(Index<0>{}, count - i < L::kCount ? L::load_f32(x + i, count - i) : L::load_f32(x + i));
  }
  unroll<kChains - 1>([&](auto c) FXQUANT_UNROLLED {
    high[0] = L::upper(high[c + 1], high[0]);
    low[0] = L::lower(low[c + 1], low[0]);
  });
  const float most = L::uppermost(high[0]), least = L::lowermost(low[0]);
  if (!is_finite(most) || !is_finite(least)) return {__builtin_nanf(""), most};
  return {least < 0.0F ? least : 0.0F, most};
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
  const typename L::F32 widest = L::greater(L::mul(size, L::set(0x1p-30F)), L::set(kSmallestScale));
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
