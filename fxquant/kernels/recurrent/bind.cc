// The step of a recurrent layer, and the packing of its weights.
#include "base/bind.h"

#include "recurrent/recurrent.h"

namespace nb = nanobind;

namespace fxquant {
namespace {

int64_t row_stride(const View& v, size_t rank, int64_t length) {
  if (v.shape.size() != rank || v.shape[rank - 1] != length) throw std::invalid_argument("shapes do not fit");
  if (length > 1 && v.strides[rank - 1] != 1) throw std::invalid_argument("elements of a row are apart");
  return v.strides[rank - 2];
}

// [batch, hidden], or nothing.
int64_t state_stride(const View& v, const Recurrent& p) {
  if (!v.present) return 0;
  if (v.shape.at(0) != p.batch) throw std::invalid_argument("states are not those of the batch");
  return row_stride(v, 2, p.weights->hidden);
}

Step recurrent_step(const View& y, const View& x, const View& h0, const View& c0, const View& last, const View& scratch,
                    uintptr_t packed, int64_t size, int64_t blocks, bool reverse, float h_scale, int zero_point,
                    int quant_min, int quant_max, bool dynamic, int isa) {
  Recurrent p;
  p.weights = &recurrent_header(pointer<const uint8_t>(packed), size, static_cast<Isa>(isa));
  if (dynamic != (p.weights->dynamic != 0)) throw std::invalid_argument("the weights were packed for another layer");
  p.y_row = row_stride(y, 3, p.weights->hidden);
  p.x_row = row_stride(x, 3, p.weights->inputs);
  p.steps = y.shape[0];
  p.batch = y.shape[1];
  p.y_step = y.strides[0];
  p.x_step = x.strides[0];
  if (x.shape[0] != p.steps || x.shape[1] != p.batch) throw std::invalid_argument("shapes do not fit");
  p.h0_row = state_stride(h0, p);
  p.c0_row = state_stride(c0, p);
  p.last_row = state_stride(last, p);
  p.blocks = blocks;
  p.reverse = reverse;
  p.h_scale = h_scale;
  p.output = {zero_point, quant_min, quant_max};
  if (zero_point != p.weights->h_zero_point) throw std::invalid_argument("the weights have another zero point");
  if (blocks < 1 || scratch.elements() < recurrent_scratch(*p.weights, p.steps, p.batch, blocks)) {
    throw std::invalid_argument("there is too little scratch");
  }
  return [=, y_at = y.place, x_at = x.place, h0_at = h0.place, c0_at = c0.place, last_at = last.place,
          memory = scratch.place, has_h0 = h0.present, has_c0 = c0.present, has_last = last.present](const Frame& f) {
    const RecurrentOperands operands{
        f.at<void>(y_at), f.at<const void>(x_at), has_h0 ? f.at<const void>(h0_at) : nullptr,
        has_c0 ? f.at<const float>(c0_at) : nullptr, has_last ? f.at<float>(last_at) : nullptr};
    recurrent(p, operands, f.at<uint8_t>(memory), f.threads);
  };
}

GateWeights gate_weights(int64_t depth, uintptr_t weight, uintptr_t multiplier, uintptr_t bias, int zero_point,
                         uintptr_t low) {
  return {depth,      pointer<const int8_t>(weight), pointer<const float>(multiplier), pointer<const float>(bias),
          zero_point, pointer<const int8_t>(low)};
}

}  // namespace

void bind_recurrent(nb::module_& m, ProgramClass& program) {
  m.def("recurrent_packed_size", [](int kind, int64_t inputs, int64_t hidden, int isa, bool two_bytes) {
    return recurrent_packed_size(static_cast<Recurrence>(kind), inputs, hidden, two_bytes, static_cast<Isa>(isa));
  });
  m.def("recurrent_pack",
        [](uintptr_t packed, int kind, int64_t inputs, int64_t hidden, int isa, uintptr_t weight_ih,
           uintptr_t multiplier_ih, uintptr_t bias_ih, int x_zero_point, uintptr_t low_ih, uintptr_t weight_hh,
           uintptr_t multiplier_hh, uintptr_t bias_hh, int h_zero_point, uintptr_t low_hh, bool dynamic) {
          pack_recurrent(static_cast<Recurrence>(kind), hidden,
                         gate_weights(inputs, weight_ih, multiplier_ih, bias_ih, x_zero_point, low_ih),
                         gate_weights(hidden, weight_hh, multiplier_hh, bias_hh, h_zero_point, low_hh), dynamic,
                         static_cast<Isa>(isa), pointer<uint8_t>(packed));
        });
  // In how many blocks threads take a batch, and the scratch that these want.
  m.def("recurrent_blocks", [](uintptr_t packed, int64_t size, int64_t steps, int64_t batch, int threads, int isa) {
    const RecurrentHeader& w = recurrent_header(pointer<const uint8_t>(packed), size, static_cast<Isa>(isa));
    const int64_t blocks = recurrent_blocks(w, steps, batch, threads);
    return nb::make_tuple(blocks, recurrent_scratch(w, steps, batch, blocks));
  });
  bind_step(m, program, "recurrent", recurrent_step);
}

}  // namespace fxquant
