// The loop of bilinear interpolation, on the lanes L of an ISA (base/lanes_<isa>.h). Included by ISA files only.
#pragma once
#include "resize/resize.h"

namespace fxquant {
namespace {

template <class L>
struct BilinearPixel {
  const uint8_t *q00, *q01, *q10, *q11;
  typename L::F32 l0h, l1h, l0w, l1w, zero_point;

  template <class... Count>
  typename L::F32 along_row(const uint8_t* q0, const uint8_t* q1, Count... count) const {
    const typename L::F32 left = L::sub(L::load_u8(q0, count...), zero_point);
    const typename L::F32 right = L::sub(L::load_u8(q1, count...), zero_point);
    return L::add(L::mul(l0w, left), L::mul(l1w, right));
  }

  // kCount channels from c on, or the `count` given.
  template <class... Count>
  typename L::F32 value(int64_t c, Count... count) const {
    return L::add(L::mul(l0h, along_row(q00 + c, q01 + c, count...)),
                  L::mul(l1h, along_row(q10 + c, q11 + c, count...)));
  }

  void store(uint8_t* y, int64_t channels, const typename L::Output& output) const {
    constexpr int64_t kBlock = 4 * L::kCount;
    int64_t c = 0;
    for (; c + kBlock <= channels; c += kBlock) {
      typename L::F32 values[4];
      for (int k = 0; k < 4; ++k) values[k] = value(c + k * L::kCount);
      L::store4_u8(y + c, values, output);
    }
    for (; c < channels; c += L::kCount) {
      const int64_t count = channels - c < L::kCount ? channels - c : L::kCount;
      L::store_u8(y + c, count, value(c, count), output);
    }
  }
};

template <class L>
void bilinear_row(const BilinearRow& p) {
  const typename L::Output output = L::output({p.zero_point, 0, 255});
  BilinearPixel<L> pixel;
  pixel.zero_point = L::set(static_cast<float>(p.zero_point));
  pixel.l0h = L::set(p.row.weight0);
  pixel.l1h = L::set(p.row.weight1);
  for (int64_t w = 0; w < p.width; ++w) {
    const Tap& tap = p.columns[w];
    const int64_t left = tap.index0 * p.x_stride, right = tap.index1 * p.x_stride;
    pixel.q00 = p.x0 + left;
    pixel.q01 = p.x0 + right;
    pixel.q10 = p.x1 + left;
    pixel.q11 = p.x1 + right;
    pixel.l0w = L::set(tap.weight0);
    pixel.l1w = L::set(tap.weight1);
    pixel.store(p.y + w * p.y_stride, p.channels, output);
  }
}

}  // namespace
}  // namespace fxquant
