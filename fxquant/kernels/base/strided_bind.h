// Shapes and strides of torch tensors, as tuples from Python, to a Walk.
#pragma once
#include <nanobind/nanobind.h>

#include "base/strided.h"

namespace fxquant {

// strides[t] are tensor t's; all tuples have the rank of `shape`.
template <int N>
Walk<N> make_walk(const nanobind::tuple& shape, const nanobind::tuple (&strides)[N]) {
  Walk<N> walk;
  walk.rank = static_cast<int>(shape.size());
  if (walk.rank > kMaxRank) throw nanobind::value_error("more than 64 dimensions");
  for (int t = 0; t < N; ++t) {
    if (strides[t].size() != shape.size()) throw nanobind::value_error("shape and strides differ in rank");
    for (int d = 0; d < walk.rank; ++d) walk.stride[t][d] = nanobind::cast<int64_t>(strides[t][d]);
  }
  for (int d = 0; d < walk.rank; ++d) walk.size[d] = nanobind::cast<int64_t>(shape[d]);
  return walk;
}

}  // namespace fxquant
