// Steps of the normalizations.
#include "base/bind.h"

#include "norm/norm.h"

namespace nb = nanobind;

namespace fxquant {
namespace {

void expect_dense(const View& v, size_t dim) {
  if (v.shape.at(dim) > 1 && v.strides.at(dim) != 1) throw std::invalid_argument("elements of a row are apart");
}

// Along the last dimension. No bias: rms_norm.
Step layer_norm_step(const View& y, const View& x, uintptr_t weight, uintptr_t bias, double eps, int x_zero_point,
                     int zero_point, int quant_min, int quant_max, int isa) {
  LayerNorm p;
  for (const View* v : {&y, &x}) expect_dense(*v, v->shape.size() - 1);
  p.rows = rows_of(walk_of<2>({&y, &x}));
  p.weight = pointer<const float>(weight);
  p.bias = pointer<const float>(bias);
  p.eps = eps;
  p.x_zero_point = x_zero_point;
  p.output = {zero_point, quant_min, quant_max};
  return [=, to = y.place, from = x.place](const Frame& frame) {
    layer_norm(p, frame.at<uint8_t>(to), frame.at<const uint8_t>(from), static_cast<Isa>(isa), frame.threads);
  };
}

// [N, ..., C].
Step group_norm_step(const View& y, const View& x, const View& scratch, int64_t groups, uintptr_t weight,
                     uintptr_t bias, double eps, int zero_point, int quant_min, int quant_max, int isa) {
  GroupNorm p;
  for (const View* v : {&y, &x}) expect_dense(*v, v->shape.size() - 1);
  Walk<2> walk = walk_of<2>({&y, &x});
  p.examples = walk.size[0];
  for (int t = 0; t < 2; ++t) p.example[t] = walk.stride[t][0];
  walk.size[0] = 1;
  p.rows = rows_of(walk);
  p.groups = groups;
  if (groups < 1 || p.rows.length % groups != 0) throw std::invalid_argument("channels cannot be divided into groups");
  p.weight = pointer<const float>(weight);
  p.bias = pointer<const float>(bias);
  p.eps = eps;
  p.output = {zero_point, quant_min, quant_max};
  const int64_t bytes = group_norm_scratch(p.rows.length);
  const auto most = static_cast<int>(bytes > 0 ? scratch.elements() / bytes : 1);
  return [=, to = y.place, from = x.place, memory = scratch.place](const Frame& frame) {
    group_norm(p, frame.at<uint8_t>(to), frame.at<const uint8_t>(from), frame.at<uint8_t>(memory),
               static_cast<Isa>(isa), most < frame.threads ? most : frame.threads);
  };
}

}  // namespace

void bind_norm(nb::module_& m, ProgramClass& program) {
  m.def("group_norm_scratch_size", &group_norm_scratch);
  bind_step(m, program, "layer_norm", layer_norm_step);
  bind_step(m, program, "group_norm", group_norm_step);
}

}  // namespace fxquant
