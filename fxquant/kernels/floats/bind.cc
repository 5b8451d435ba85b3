// Steps of floats.
#include "base/bind.h"

#include "floats/attention_step.h"

namespace nb = nanobind;

namespace fxquant {
namespace {

template <auto Kernel>
RowStep pair_step(const View& y, const View& a, const View& b, int isa) {
  const auto rows = rows_of(walk_of<3>({&y, &a, &b}));
  const FloatKernels& kernels = float_kernels(static_cast<Isa>(isa));
  return {rows.length > 0 ? rows.count : 0, 12 * rows.length,
          [=, &kernels, to = y.place, at_a = a.place, at_b = b.place](const Frame& frame, int64_t begin, int64_t end) {
            (kernels.*Kernel)(rows, frame.at<float>(to), frame.at<const float>(at_a), frame.at<const float>(at_b),
                              begin, end);
          }};
}

// [rows, length] both.
FloatRows float_rows(const View& y, const View& x) {
  expect(y.shape.size() == 2 && y.shape == x.shape);
  return {y.shape[1] > 0 ? y.shape[0] : 0, y.shape[1], dense_rows(y), dense_rows(x)};
}

template <auto Kernel>
RowStep function_step(const View& y, const View& x, int isa) {
  const FloatRows rows = float_rows(y, x);
  const FloatKernels& kernels = float_kernels(static_cast<Isa>(isa));
  return {rows.count, 8 * rows.length,
          [=, &kernels, to = y.place, from = x.place](const Frame& frame, int64_t begin, int64_t end) {
            (kernels.*Kernel)(rows, frame.at<float>(to), frame.at<const float>(from), begin, end);
          }};
}

template <auto Kernel>
RowStep norm_step(const View& y, const View& x, uintptr_t weight, uintptr_t bias, float eps, int isa) {
  const FloatLayerNorm p = {float_rows(y, x), pointer<const float>(weight), pointer<const float>(bias), eps};
  const FloatKernels& kernels = float_kernels(static_cast<Isa>(isa));
  return {p.rows.count, 8 * p.rows.length,
          [=, &kernels, to = y.place, from = x.place](const Frame& frame, int64_t begin, int64_t end) {
            (kernels.*Kernel)(p, frame.at<float>(to), frame.at<const float>(from), begin, end);
          }};
}

// y [rows, length], index int64 [rows, 1].
RowStep embedding_step(const View& y, const View& index, uintptr_t table, int64_t size) {
  const FloatEmbedding p = {y.shape.at(0), y.shape.at(1), size};
  expect(index.elements() == p.rows && size > 0);
  return {p.rows, 8 * p.length, [=, to = y.place, at = index.place](const Frame& frame, int64_t begin, int64_t end) {
            const bool right = float_embedding(p, frame.at<float>(to), frame.at<const int64_t>(at),
                                               pointer<const float>(table), begin, end);
            if (!right) frame.out_of_range->store(true, std::memory_order_relaxed);
          }};
}

}  // namespace

void bind_floats(nb::module_& m, ProgramClass& program) {
  bind_step(m, program, "float_add", pair_step<&FloatKernels::add>);
  bind_step(m, program, "float_mul", pair_step<&FloatKernels::mul>);
  bind_step(m, program, "float_gelu", function_step<&FloatKernels::gelu>);
  bind_step(m, program, "float_gelu_tanh", function_step<&FloatKernels::gelu_tanh>);
  bind_step(m, program, "float_silu", function_step<&FloatKernels::silu>);
  bind_step(m, program, "float_layer_norm", norm_step<&FloatKernels::layer_norm>);
  bind_step(m, program, "float_rms_norm", norm_step<&FloatKernels::rms_norm>);
  program.def("float_embedding", [](Program& p, const View& y, const View& index, uintptr_t table, int64_t size) {
    p.add(embedding_step(y, index, table, size));
  });
  bind_attention<float_attention_scratch, float_attention>(m, program, "float_attention");
}

}  // namespace fxquant
