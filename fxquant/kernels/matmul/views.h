// From views to batches of matrices. A batch that an operand broadcasts is a dimension with a stride of 0.
#pragma once
#include "base/view.h"
#include "matmul/matmul.h"

namespace fxquant {
namespace {

// What views have in front of their last two dimensions, all of one shape.
template <int N>
Rows<N> batches_of(const View* const (&views)[N]) {
  View cut[N];
  const View* pointers[N];
  for (int t = 0; t < N; ++t) {
    cut[t] = *views[t];
    const auto last = static_cast<std::ptrdiff_t>(cut[t].shape.size()) - 2;
    if (last < 0) throw std::invalid_argument("a matrix has two dimensions or more");
    cut[t].shape.erase(cut[t].shape.begin() + last, cut[t].shape.end());
    cut[t].strides.erase(cut[t].strides.begin() + last, cut[t].strides.end());
    cut[t].shape.push_back(1);
    cut[t].strides.push_back(0);
    pointers[t] = &cut[t];
  }
  Walk<N> walk;
  walk.rank = static_cast<int>(cut[0].shape.size());
  if (walk.rank > kMaxRank) throw std::invalid_argument("more than 64 dimensions");
  for (int t = 0; t < N; ++t) {
    if (cut[t].shape != cut[0].shape) throw std::invalid_argument("operands differ in their leading dimensions");
    for (int d = 0; d < walk.rank; ++d) {
      walk.size[d] = cut[t].shape[static_cast<size_t>(d)];
      walk.stride[t][d] = cut[t].strides[static_cast<size_t>(d)];
    }
  }
  return rows_of(walk);
}

inline int64_t size_of(const View& v, int from_end) { return v.shape[v.shape.size() - static_cast<size_t>(from_end)]; }

inline Matrix matrix_of(const View& v) { return {v.strides[v.strides.size() - 2], v.strides[v.strides.size() - 1]}; }

// The distance of rows whose elements lie side by side.
inline int64_t dense_rows(const View& v) {
  if (size_of(v, 1) > 1 && matrix_of(v).column != 1) throw std::invalid_argument("elements of a row are apart");
  return matrix_of(v).row;
}

inline void expect(bool holds) {
  if (!holds) throw std::invalid_argument("shapes do not fit");
}

inline MatmulLayout layout_of(const View& y, const View& a, const View& b) {
  MatmulLayout p;
  p.batches = batches_of<3>({&y, &a, &b});
  p.rows = size_of(y, 2);
  p.columns = size_of(y, 1);
  p.depth = size_of(a, 1);
  expect(size_of(a, 2) == p.rows && size_of(b, 1) == p.columns && size_of(b, 2) == p.depth);
  p.y_row = dense_rows(y);
  p.a_row = dense_rows(a);
  p.b = matrix_of(b);
  return p;
}

inline AttentionLayout layout_of(const View& y, const View& q, const View& k, const View& v, const View& mask,
                                 bool bools) {
  AttentionLayout p;
  p.batches = batches_of<5>({&y, &q, &k, &v, mask.present ? &mask : &y});
  p.queries = size_of(y, 2);
  p.width = size_of(y, 1);
  p.depth = size_of(q, 1);
  p.keys = size_of(k, 2);
  expect(size_of(q, 2) == p.queries && size_of(k, 1) == p.depth && size_of(v, 2) == p.keys);
  expect(size_of(v, 1) == p.width);
  p.y_row = dense_rows(y);
  p.q_row = dense_rows(q);
  p.k = matrix_of(k);
  p.v = matrix_of(v);
  if (mask.present) {
    expect(size_of(mask, 2) == p.queries && size_of(mask, 1) == p.keys);
    p.mask = bools ? Mask::bools : Mask::floats;
    p.mask_strides = matrix_of(mask);
  }
  return p;
}

}  // namespace
}  // namespace fxquant
