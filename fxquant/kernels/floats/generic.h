// Everything but attention, row by row, over the lanes L of an ISA. Included by ISA files only.
#pragma once
#include "base/several.h"
#include "floats/arithmetic.h"

namespace fxquant {
namespace {

// y[i] of a row: result(load, i), where load(p) is the vector from element p[i] on.
template <class L, class Result>
FXQUANT_UNROLLED inline void for_row(float* y, int64_t length, const Result& result) {
  int64_t i = 0;
  for (; i + L::kCount <= length; i += L::kCount) {
    L::store_f32(y + i, result([=](const float* p) FXQUANT_UNROLLED { return L::load_f32(p + i); }));
  }
  if (i == length) return;
  const int64_t left = length - i;
  L::store_f32(y + i, left, result([=](const float* p) FXQUANT_UNROLLED { return L::load_f32(p + i, left); }));
}

struct Add {
  template <class L>
  static FXQUANT_UNROLLED inline typename L::F32 of(typename L::F32 a, typename L::F32 b) {
    return L::add(a, b);
  }
};

struct Mul {
  template <class L>
  static FXQUANT_UNROLLED inline typename L::F32 of(typename L::F32 a, typename L::F32 b) {
    return L::mul(a, b);
  }
};

template <class L, class Op>
void float_pair_rows(const Rows<3>& rows, float* y, const float* a, const float* b, int64_t begin, int64_t end) {
  const bool dense = rows.step[0] == 1 && rows.step[1] == 1 && rows.step[2] == 1;
  for (int64_t row = begin; row < end; ++row) {
    float* to = y + rows.offset(row, 0);
    const float *first = a + rows.offset(row, 1), *second = b + rows.offset(row, 2);
    if (dense) {
      for_row<L>(to, rows.length,
                 [=](const auto& load) FXQUANT_UNROLLED { return Op::template of<L>(load(first), load(second)); });
    } else {
      for (int64_t i = 0; i < rows.length; ++i)
        to[i * rows.step[0]] = Op::template of<ScalarLanes>(first[i * rows.step[1]], second[i * rows.step[2]]);
    }
  }
}

template <class L, class Function>
void float_function_rows(const FloatRows& rows, float* y, const float* x, int64_t begin, int64_t end) {
  using Some = Several<L, L::kCount == 8 ? 2 : 4>;  // as many as 16 registers hold, or 32
  for (int64_t row = begin; row < end; ++row) {
    const float* from = x + row * rows.x_stride;
    float* to = y + row * rows.y_stride;
    int64_t i = 0;
    for (; i + Some::kCount <= rows.length; i += Some::kCount) {
      Some::store_f32(to + i, Function::template of<Some>(Some::load_f32(from + i)));
    }
    from += i;
    for_row<L>(to + i, rows.length - i,
               [=](const auto& load) FXQUANT_UNROLLED { return Function::template of<L>(load(from)); });
  }
}

// Each step takes a few rows before the next one begins, so that a CPU works on several while it waits for the sum of
// one.
// kCentered: less their mean, and plus a bias.
template <class L, bool kCentered>
void float_norm_rows(const FloatLayerNorm& p, float* y, const float* x, int64_t begin, int64_t end) {
  constexpr int64_t kTogether = 4;
  const float *weight = p.weight, *bias = p.bias;
  const int64_t length = p.rows.length;
  for (int64_t first = begin; first < end; first += kTogether) {
    const int64_t rows = end - first < kTogether ? end - first : kTogether;
    const auto from = [&](int64_t m) { return x + (first + m) * p.rows.x_stride; };
    float means[kTogether], inverses[kTogether];
    for (int64_t m = 0; m < rows; ++m) means[m] = kCentered ? mean_of_row<L>(from(m), length) : 0.0F;
    for (int64_t m = 0; m < rows; ++m) inverses[m] = inverse_of_row<L>(from(m), length, means[m], p.eps);
    for (int64_t m = 0; m < rows; ++m) {
      const float* row = from(m);
      const auto mean = L::set(means[m]), inverse = L::set(inverses[m]);
      for_row<L>(y + (first + m) * p.rows.y_stride, length, [=](const auto& load) FXQUANT_UNROLLED {
        if constexpr (!kCentered) return L::mul(L::mul(load(row), inverse), load(weight));
        return normalized<L>(load(row), mean, inverse, load(weight), load(bias));
      });
    }
  }
}

}  // namespace
}  // namespace fxquant
