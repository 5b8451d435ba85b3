// Elementwise walks: N tensors of one shape, each with strides of its own, cut into planes for a kernel.
#pragma once
#include <cstdint>

#include "base/parallel.h"

namespace fxquant {

constexpr int kMaxRank = 64;

// Element (i0, i1, ...) of tensor t lies at sum over d of i_d * stride[t][d], in elements. Tensor 0 is the one written.
template <int N>
struct Walk {
  int rank = 0;
  int64_t size[kMaxRank];
  int64_t stride[N][kMaxRank];
};

// rows x length elements of a walk: element (r, i) of tensor t lies at offset[t] + r * row[t] + i * step[t].
template <int N>
struct Plane {
  int64_t rows = 1, length = 1;
  int64_t offset[N] = {}, row[N] = {}, step[N] = {};
};

namespace {

template <int N>
bool mergeable(const Walk<N>& walk, int outer, int inner) {
  for (int t = 0; t < N; ++t) {
    if (walk.stride[t][outer] != walk.stride[t][inner] * walk.size[inner]) return false;
  }
  return true;
}

template <int N>
void move_dim(const Walk<N>& from, int source, Walk<N>& to, int target) {
  to.size[target] = from.size[source];
  for (int t = 0; t < N; ++t) to.stride[t][target] = from.stride[t][source];
}

// Drops dimensions of size 1 and puts the rest in descending order of tensor 0's strides.
template <int N>
Walk<N> sorted(const Walk<N>& walk) {
  Walk<N> result;
  for (int d = 0; d < walk.rank; ++d) {
    if (walk.size[d] == 1) continue;
    int at = result.rank++;
    for (; at > 0 && result.stride[0][at - 1] < walk.stride[0][d]; --at) move_dim(result, at - 1, result, at);
    move_dim(walk, d, result, at);
  }
  return result;
}

// The same elements in as few dimensions as possible, at least one, the innermost of tensor 0 last.
template <int N>
Walk<N> simplified(const Walk<N>& walk) {
  const Walk<N> source = sorted(walk);
  Walk<N> result;
  for (int d = 0; d < source.rank; ++d) {
    if (result.rank > 0 && mergeable(source, d - 1, d)) {
      const int64_t size = result.size[result.rank - 1] * source.size[d];
      move_dim(source, d, result, result.rank - 1);
      result.size[result.rank - 1] = size;
    } else {
      move_dim(source, d, result, result.rank++);
    }
  }
  if (result.rank == 0) {
    result.rank = 1;
    result.size[0] = 1;
    for (int t = 0; t < N; ++t) result.stride[t][0] = 1;
  }
  return result;
}

// Rows [begin, end) of all rows of `walk`, a row being its last dimension, as planes over its last two.
template <int N, class Body>
void walk_rows(const Walk<N>& walk, int64_t begin, int64_t end, const Body& body) {
  const int row_dim = walk.rank - 2, dim = walk.rank - 1;
  while (begin < end) {
    Plane<N> plane;
    int64_t index = begin;
    for (int d = row_dim; d >= 0; --d) {
      for (int t = 0; t < N; ++t) plane.offset[t] += index % walk.size[d] * walk.stride[t][d];
      index /= walk.size[d];
    }
    const int64_t left = walk.size[row_dim] - begin % walk.size[row_dim];
    plane.rows = left < end - begin ? left : end - begin;
    plane.length = walk.size[dim];
    for (int t = 0; t < N; ++t) {
      plane.row[t] = walk.stride[t][row_dim];
      plane.step[t] = walk.stride[t][dim];
    }
    body(plane);
    begin += plane.rows;
  }
}

// Elements [begin, end) of a walk of one dimension.
template <int N, class Body>
void walk_elements(const Walk<N>& walk, int64_t begin, int64_t end, const Body& body) {
  Plane<N> plane;
  plane.length = end - begin;
  for (int t = 0; t < N; ++t) {
    plane.step[t] = walk.stride[t][0];
    plane.offset[t] = begin * plane.step[t];
  }
  body(plane);
}

// Calls body(plane) for planes that cover every element of `any` once, on at most `threads` threads.
template <int N, class Body>
void for_each_plane(const Walk<N>& any, int threads, const Body& body) {
  const Walk<N> walk = simplified(any);
  int64_t rows = 1;
  for (int d = 0; d + 1 < walk.rank; ++d) rows *= walk.size[d];
  const int64_t elements = rows * walk.size[walk.rank - 1];
  if (elements == 0) return;
  const int used = worthwhile_threads(elements, threads);
  if (walk.rank == 1) {
    parallel_for(elements, used, [&](int64_t begin, int64_t end) { walk_elements(walk, begin, end, body); });
  } else {
    parallel_for(rows, used, [&](int64_t begin, int64_t end) { walk_rows(walk, begin, end, body); });
  }
}

}  // namespace
}  // namespace fxquant
