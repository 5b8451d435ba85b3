// Steps of matmul and attention. A batch that an operand broadcasts is a dimension with a stride of 0.
#include "base/bind.h"

#include "matmul/matmul.h"

namespace nb = nanobind;

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

int64_t size_of(const View& v, int from_end) { return v.shape[v.shape.size() - static_cast<size_t>(from_end)]; }

Matrix matrix_of(const View& v) { return {v.strides[v.strides.size() - 2], v.strides[v.strides.size() - 1]}; }

// The distance of rows whose elements lie side by side.
int64_t dense_rows(const View& v) {
  if (size_of(v, 1) > 1 && matrix_of(v).column != 1) throw std::invalid_argument("elements of a row are apart");
  return matrix_of(v).row;
}

void expect(bool holds) {
  if (!holds) throw std::invalid_argument("shapes do not fit");
}

Matmul matmul_of(const View& y, const View& a, const View& b) {
  Matmul p;
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

Step matmul_step(const View& y, const View& a, const View& b, const View& scratch, float multiplier, int a_zero_point,
                 int b_zero_point, int zero_point, int quant_min, int quant_max, int isa) {
  Matmul p = matmul_of(y, a, b);
  p.multiplier = multiplier;
  p.a_zero_point = a_zero_point;
  p.b_zero_point = b_zero_point;
  p.output = {zero_point, quant_min, quant_max};
  const int64_t bytes = matmul_scratch(p, static_cast<Isa>(isa));
  const auto most = static_cast<int>(bytes > 0 ? scratch.elements() / bytes : 1);
  return [=, y_at = y.place, a_at = a.place, b_at = b.place, memory = scratch.place](const Frame& frame) {
    matmul(p, {frame.at<uint8_t>(y_at), frame.at<const uint8_t>(a_at), frame.at<const uint8_t>(b_at)},
           frame.at<uint8_t>(memory), static_cast<Isa>(isa), most < frame.threads ? most : frame.threads);
  };
}

Attention attention_of(const View& y, const View& q, const View& k, const View& v, const View& mask, bool bools) {
  Attention p;
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

Step attention_step(const View& y, const View& q, const View& k, const View& v, const View& mask, const View& scratch,
                    bool bools, float score_multiplier, int q_zero_point, int k_zero_point, float value_multiplier,
                    int v_zero_point, int zero_point, int quant_min, int quant_max, bool causal, int isa) {
  Attention p = attention_of(y, q, k, v, mask, bools);
  p.score_multiplier = score_multiplier;
  p.value_multiplier = value_multiplier;
  p.q_zero_point = q_zero_point;
  p.k_zero_point = k_zero_point;
  p.v_zero_point = v_zero_point;
  p.output = {zero_point, quant_min, quant_max};
  p.causal = causal;
  const int64_t bytes = attention_scratch(p, static_cast<Isa>(isa));
  const auto most = static_cast<int>(bytes > 0 ? scratch.elements() / bytes : 1);
  return [=, y_at = y.place, q_at = q.place, k_at = k.place, v_at = v.place, mask_at = mask.place,
          memory = scratch.place](const Frame& frame) {
    const AttentionOperands operands{frame.at<uint8_t>(y_at), frame.at<const uint8_t>(q_at),
                                     frame.at<const uint8_t>(k_at), frame.at<const uint8_t>(v_at),
                                     p.mask == Mask::none ? nullptr : frame.at<const uint8_t>(mask_at)};
    attention(p, operands, frame.at<uint8_t>(memory), static_cast<Isa>(isa),
              most < frame.threads ? most : frame.threads);
  };
}

}  // namespace

void bind_matmul(nb::module_& m, ProgramClass& program) {
  // What each thread wants as scratch.
  m.def("matmul_scratch_size", [](const View& y, const View& a, const View& b, int isa) {
    return matmul_scratch(matmul_of(y, a, b), static_cast<Isa>(isa));
  });
  m.def("attention_scratch_size", [](const View& y, const View& q, const View& k, const View& v, int isa) {
    return attention_scratch(attention_of(y, q, k, v, {}, false), static_cast<Isa>(isa));
  });
  bind_step(m, program, "matmul", matmul_step);
  bind_step(m, program, "attention", attention_step);
}

}  // namespace fxquant
