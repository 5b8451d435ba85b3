// A row of scores as floats in scratch, then as integers, over the lanes of an ISA.
#pragma once
#include <cmath>

#include "base/exponential.h"
#include "softmax/softmax.h"

namespace fxquant {
namespace {

constexpr int64_t kPadding = 16;  // a multiple of every ISA's lanes

inline int64_t padded(int64_t length) { return (length + kPadding - 1) / kPadding * kPadding; }

// t = float(x - x_zero_point) * x_scale + mask of a row; -inf up to whole vectors.
inline void load_scores(const Softmax& p, const uint8_t* x, const uint8_t* mask, float* t) {
  const int64_t length = p.rows.length, step = p.rows.step[1], mask_step = p.rows.step[2];
  for (int64_t j = 0; j < length; ++j) {
    t[j] = static_cast<float>(static_cast<int32_t>(x[j * step]) - p.x_zero_point) * p.x_scale;
  }
  if (p.masked && p.bools) {
    for (int64_t j = 0; j < length; ++j) t[j] += mask[j * mask_step] != 0 ? 0.0F : -__builtin_inff();
  } else if (p.masked) {
    const float* summands = reinterpret_cast<const float*>(mask);
    for (int64_t j = 0; j < length; ++j) t[j] += summands[j * mask_step];
  }
  for (int64_t j = length; j < padded(length); ++j) t[j] = -__builtin_inff();
}

// The results of a row, to where they lie; `values` are yet to be rounded.
template <class L>
void store_row(const float* values, const Rows<3>& rows, const Requantize& output, uint8_t* y) {
  const auto q = L::output(output);
  if (rows.step[0] != 1) {
    for (int64_t j = 0; j < rows.length; ++j) y[j * rows.step[0]] = round_and_saturate(values[j], output);
    return;
  }
  for (int64_t j = 0; j < rows.length; j += L::kCount) {
    const int64_t left = rows.length - j;
    L::store_u8(y + j, left < L::kCount ? left : L::kCount, L::load_f32(values + j), q);
  }
}

template <class L>
void softmax_row(const Softmax& p, float* t, float* e, uint8_t* y) {
  const int64_t length = padded(p.rows.length);
  const float most = largest<L>(t, length);
  for (int64_t j = 0; j < length; j += L::kCount) {
    const auto d = L::sub(L::load_f32(t + j), L::set(most));
    L::store_f32(t + j, d);
    L::store_f32(e + j, L::nearest(L::mul(power_of_2<L>(L::mul(d, L::set(kLog2E)), kExponential), L::set(8388608.0F))));
  }
  int64_t total = 0;  // of what is padding, 2^-60 of each rounds to nothing
  for (int64_t j = 0; j < length; ++j) total += static_cast<int32_t>(e[j]);
  if (p.logarithm) {
    const auto logarithm = L::set(static_cast<float>(std::log(static_cast<double>(total) / 8388608.0)));
    for (int64_t j = 0; j < length; j += L::kCount) {
      L::store_f32(e + j, L::mul(L::sub(L::load_f32(t + j), logarithm), L::set(p.multiplier)));
    }
  } else {
    const auto factor = L::set(static_cast<float>(static_cast<double>(p.multiplier) / static_cast<double>(total)));
    for (int64_t j = 0; j < length; j += L::kCount) L::store_f32(e + j, L::mul(L::load_f32(e + j), factor));
  }
  store_row<L>(e, p.rows, p.output, y);
}

template <class L>
void softmax_rows(const Softmax& p, const SoftmaxOperands& operands, int64_t begin, int64_t end, uint8_t* scratch) {
  float* t = reinterpret_cast<float*>(scratch);
  float* e = t + padded(p.rows.length);
  const int64_t mask_size = p.bools ? 1 : 4;
  for (int64_t row = begin; row < end; ++row) {
    const uint8_t* mask = p.masked ? operands.mask + p.rows.offset(row, 2) * mask_size : nullptr;
    load_scores(p, operands.x + p.rows.offset(row, 1), mask, t);
    softmax_row<L>(p, t, e, operands.y + p.rows.offset(row, 0));
  }
}

template <class L>
constexpr SoftmaxKernels softmax_table() {
  return {softmax_rows<L>};
}

}  // namespace
}  // namespace fxquant
