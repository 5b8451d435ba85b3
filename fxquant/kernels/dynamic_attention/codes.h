// From float32 rows to symmetric codes: 128 + clamp(rne(x / scale), -127, 127). Included by ISA files only.
#pragma once
#include "dynamic/generic.h"
#include "matmul/matmul.h"

namespace fxquant {
namespace {

constexpr int32_t kMiddle = 128;
constexpr Levels kSymmetric = {1, 255};

inline float scale_of(float most) {
  const float scale = most / 127.0F;
  return scale < 0x1p-126F ? 0x1p-126F : scale;
}

// The largest |x| of what was taken, for each lane; `odd` is NaN once a NaN or an infinity was.
template <class L>
struct Magnitude {
  typename L::F32 most = L::set(0.0F), odd = L::set(0.0F);

  FXQUANT_UNROLLED void take(typename L::F32 x) {
    most = L::greater(L::greater(x, L::sub(L::set(0.0F), x)), most);
    odd = L::add(odd, L::sub(x, x));
  }
  float scale() const { return scale_of(L::largest(most)) + oddness<L>(odd); }
};

// Rows of float32 whose elements lie side by side, or are gathered into `gathered`.
struct SourceRows {
  const float* data;
  int64_t count, length;
  Matrix strides;
  float* gathered;

  const float* row(int64_t j) const {
    const float* from = data + j * strides.row;
    if (strides.column == 1) return from;
    for (int64_t i = 0; i < length; ++i) gathered[i] = from[i * strides.column];
    return gathered;
  }
};

template <class L>
typename L::F32 load_part(const float* p, int64_t left) {
  return left < L::kCount ? L::load_f32(p, left) : L::load_f32(p);
}

template <class L>
float scale_of_all(const SourceRows& x) {
  Magnitude<L> found;
  for (int64_t j = 0; j < x.count; ++j) {
    const float* row = x.row(j);
    for (int64_t i = 0; i < x.length; i += L::kCount) found.take(load_part<L>(row + i, x.length - i));
  }
  return found.scale();
}

// Codes of all rows, `stride` apart.
template <class L>
void codes_of_all(const SourceRows& x, float scale, uint8_t* codes, int64_t stride) {
  const auto inverse = L::set(1.0F / scale);
  const auto output = L::output({kMiddle, kSymmetric.quant_min, kSymmetric.quant_max});
  for (int64_t j = 0; j < x.count; ++j) quantize_row<L>(codes + j * stride, x.row(j), x.length, inverse, output);
}

// The scale of each column, [length] and room for whole vectors.
template <class L>
void scales_of_columns(const SourceRows& x, float* scales) {
  for (int64_t i = 0; i < x.length; i += L::kCount) {
    Magnitude<L> found;
    for (int64_t j = 0; j < x.count; ++j) found.take(load_part<L>(x.row(j) + i, x.length - i));
    float most[L::kCount], odd[L::kCount];
    L::store_f32(most, found.most);
    L::store_f32(odd, found.odd);
    for (int lane = 0; lane < L::kCount; ++lane) scales[i + lane] = scale_of(most[lane]) + odd[lane];
  }
}

// Codes by such scales.
template <class L>
void codes_of_columns(const SourceRows& x, const float* scales, uint8_t* codes, int64_t stride) {
  const auto output = L::output({kMiddle, kSymmetric.quant_min, kSymmetric.quant_max});
  for (int64_t i = 0; i < x.length; i += L::kCount) {
    const int64_t left = x.length - i, count = left < L::kCount ? left : L::kCount;
    const auto inverse = L::div(L::set(1.0F), L::load_f32(scales + i));
    for (int64_t j = 0; j < x.count; ++j) {
      L::store_u8(codes + j * stride + i, count, L::mul(load_part<L>(x.row(j) + i, left), inverse), output);
    }
  }
}

}  // namespace
}  // namespace fxquant
