// The loops of quantize and dequantize, on the lanes L of an ISA (base/lanes_<isa>.h). Included by ISA files only.
//
// A plane is run through in one of three ways: rows where both sides are dense; transposed where the side read is
// dense across rows and the side written along them (NCHW to NHWC and back; transpose.h); anything else element by
// element.
#pragma once
#include "base/lanes_scalar.h"
#include "quantize/quantize.h"

namespace fxquant {
namespace {

template <class L>
struct QuantizeLanes {
  typename L::F32 scale;
  typename L::Output output;
  explicit QuantizeLanes(const Quantize& p) : scale(L::set(p.scale)), output(L::output(p.output)) {}
  typename L::F32 load(const float* x) const { return L::div(L::load_f32(x), scale); }
  typename L::F32 load(const float* x, int64_t count) const { return L::div(L::load_f32(x, count), scale); }

  void row(uint8_t* y, const float* x, int64_t length) const {
    constexpr int64_t kBlock = 4 * L::kCount;
    int64_t i = 0;
    for (; i + kBlock <= length; i += kBlock) {
      typename L::F32 values[4];
      for (int k = 0; k < 4; ++k) values[k] = load(x + i + k * L::kCount);
      L::store4_u8(y + i, values, output);
    }
    for (; i < length; i += L::kCount) {
      const int64_t count = length - i < L::kCount ? length - i : L::kCount;
      L::store_u8(y + i, count, load(x + i, count), output);
    }
  }
};

template <class L>
struct DequantizeLanes {
  typename L::F32 scale, zero_point;
  explicit DequantizeLanes(const Dequantize& p)
      : scale(L::set(p.scale)), zero_point(L::set(static_cast<float>(p.zero_point))) {}
  typename L::F32 value(typename L::F32 q) const { return L::mul(L::sub(q, zero_point), scale); }

  void row(float* y, const uint8_t* x, int64_t length) const {
    int64_t i = 0;
    for (; i + L::kCount <= length; i += L::kCount) L::store_f32(y + i, value(L::load_u8(x + i)));
    if (i < length) L::store_f32(y + i, length - i, value(L::load_u8(x + i, length - i)));
  }
};

template <class Row, class To, class From>
void dense_rows(const Plane<2>& plane, To* y, const From* x, const Row& row) {
  for (int64_t r = 0; r < plane.rows; ++r) row.row(y + r * plane.row[0], x + r * plane.row[1], plane.length);
}

template <class Row, class To, class From>
void strided_elements(const Plane<2>& plane, To* y, const From* x, const Row& row) {
  for (int64_t r = 0; r < plane.rows; ++r) {
    for (int64_t i = 0; i < plane.length; ++i) {
      row.row(y + r * plane.row[0] + i * plane.step[0], x + r * plane.row[1] + i * plane.step[1], 1);
    }
  }
}

template <class L, class Transposed>
void quantize_plane(const Plane<2>& plane, uint8_t* y, const float* x, const Quantize& params) {
  if (plane.step[0] == 1 && plane.step[1] == 1) return dense_rows(plane, y, x, QuantizeLanes<L>(params));
  if (plane.step[0] == 1 && plane.row[1] == 1) return Transposed::quantize(plane, y, x, QuantizeLanes<L>(params));
  strided_elements(plane, y, x, QuantizeLanes<ScalarLanes>(params));
}

template <class L, class Transposed>
void dequantize_plane(const Plane<2>& plane, float* y, const uint8_t* x, const Dequantize& params) {
  if (plane.step[0] == 1 && plane.step[1] == 1) return dense_rows(plane, y, x, DequantizeLanes<L>(params));
  if (plane.step[0] == 1 && plane.row[1] == 1) return Transposed::dequantize(plane, y, x, DequantizeLanes<L>(params));
  strided_elements(plane, y, x, DequantizeLanes<ScalarLanes>(params));
}

}  // namespace
}  // namespace fxquant
