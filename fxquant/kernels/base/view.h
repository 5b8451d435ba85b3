// Tensors as steps take them: where the first element lies, shape and strides in elements, in torch's order.
#pragma once
#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "base/program.h"
#include "base/strided.h"
#include "base/tensor.h"

namespace fxquant {

struct View {
  bool present = false;  // of an optional tensor
  Place place;
  std::vector<int64_t> shape, strides;

  int64_t elements() const {
    int64_t count = present ? 1 : 0;
    for (const int64_t size : shape) count *= size;
    return count;
  }
};

// [N, C, H, W] with neighbouring channels side by side. The data pointer is the frame's to give.
template <class T>
Nhwc<T> images_of(const View& v) {
  if (!v.present) return {};
  if (v.shape.size() != 4) throw std::invalid_argument("an image tensor has four dimensions");
  if (v.shape[1] > 1 && v.strides[1] != 1) throw std::invalid_argument("images must be channels last");
  Nhwc<T> images = {nullptr, v.shape[0], v.shape[2], v.shape[3], v.shape[1], v.strides[0], v.strides[2], v.strides[3]};
  // Torch leaves any number as the stride of a single element. A larger one may say where the rows of a halo lie.
  if (images.w == 1) images.stride_w = images.c;
  if (images.h == 1) images.stride_h = std::max(images.stride_h, images.w * images.stride_w);
  if (images.n == 1) images.stride_n = images.h * images.stride_h;
  return images;
}

// The elements of views of one shape.
template <int N>
Walk<N> walk_of(const View* const (&views)[N]) {
  Walk<N> walk;
  const std::vector<int64_t>& shape = views[0]->shape;
  if (shape.size() > kMaxRank) throw std::invalid_argument("more than 64 dimensions");
  walk.rank = static_cast<int>(shape.size());
  for (int d = 0; d < walk.rank; ++d) walk.size[d] = shape[static_cast<size_t>(d)];
  for (int t = 0; t < N; ++t) {
    if (views[t]->shape != shape) throw std::invalid_argument("tensors differ in shape");
    for (int d = 0; d < walk.rank; ++d) walk.stride[t][d] = views[t]->strides[static_cast<size_t>(d)];
  }
  return walk;
}

}  // namespace fxquant
