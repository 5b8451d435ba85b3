// Views of activations in memory. Kernels take views and never allocate.
#pragma once
#include <cstdint>

namespace fxquant {

// A batch of images, channels last: element (n, h, w, c) is data[n * stride_n + h * stride_h + w * stride_w + c].
// Strides are in elements; the channel stride is always 1. A concat slice or a haloed buffer is just larger strides.
template <class T>
struct Nhwc {
  T* data = nullptr;
  int64_t n = 0, h = 0, w = 0, c = 0;
  int64_t stride_n = 0, stride_h = 0, stride_w = 0;

  T* at(int64_t in, int64_t ih, int64_t iw) const { return data + in * stride_n + ih * stride_h + iw * stride_w; }
  // The same view of memory that begins at `to`.
  Nhwc with(T* to) const {
    Nhwc view = *this;
    view.data = to;
    return view;
  }
  bool dense() const { return stride_w == c && stride_h == w * stride_w && stride_n == h * stride_h; }
};

}  // namespace fxquant
