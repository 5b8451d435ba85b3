// A layer of an LSTM, GRU or RNN in one direction over a whole sequence, uint8 to uint8 or, if dynamic, float to float.
// For each row of the batch,
// with G gates of H units (4 of lstm: i, f, g, o; 3 of gru: r, z, n; 1 of rnn), n < G * H, and s[-1], c[-1] the initial
// state:
//   a[n] = float(sum over k of (x[t, k] - x_zero_point) * w_ih[n, k]) * multiplier_ih[n] + bias_ih[n]
//   b[n] = float(sum over k of (h[t-1, k] - h_zero_point) * w_hh[n, k]) * multiplier_hh[n] + bias_hh[n]
//   lstm       c[t] = sigmoid(a_f + b_f) * c[t-1] + sigmoid(a_i + b_i) * tanh(a_g + b_g)
//              s[t] = sigmoid(a_o + b_o) * tanh(c[t])
//   gru        m = tanh(a_n + sigmoid(a_r + b_r) * b_n);  s[t] = m + sigmoid(a_z + b_z) * (s[t-1] - m)
//   rnn_tanh   s[t] = tanh(a + b)
//   rnn_relu   s[t] = max(a + b, 0)
//   h[t] = round_and_saturate(s[t] * (1 / h_scale))                                           (base/requantize.h)
// Dynamic ones have for each row and step its own zero points of x[t] and of h[t-1], and scales, by which the floats of
// sums are multiplied first (dynamic/dynamic.h), and h[t] = s[t].
// In those with weights of two bytes the candidate gate (g of lstm, n of gru, that of rnn) has w = 256 * high + low,
// since it alone becomes a part of the state itself:
//   b[n] = float(sum over k of (h[t-1, k] - h_zero_point) * high[n, k]) * scale * (256 * multiplier_hh[n]) + bias_hh[n]
//   b[n] = b[n] + float(sum over k of (h[t-1, k] - h_zero_point) * low[n, k]) * scale * multiplier_hh[n]
// and so a[n], which reads x[t] in two bytes as well: what its codes leave, x[t, k] - (code[k] - x_zero_point) * scale,
// is quantized to r[k], around 128 and at a scale of r_scale = max(scale / 255, 2^-126), and
//   a[n] = a[n] + float(sum over k of (r[k] - 128) * high[n, k]) * r_scale * (256 * multiplier_ih[n])
// Sums are exact in int32; all else is float, each operation rounded on its own, with
//   sigmoid(v) = 1 / (1 + 2^(max(v, -40) * -log2(e)))                                         (base/exponential.h)
//   tanh(v)    = 2 / (1 + 2^(max(v, -20) * -2 * log2(e))) - 1
//
// The a of many steps are one product, made a block of steps at a time; those of b are made step by step, and become
// states while they are in registers: a panel of packed weights holds all gates of as many units as a vector has lanes.
//   packed: header | panels of w_ih | panels of what multiplies rests | panels of w_hh
//   where low bytes are a gate more of w_ih and w_hh, and rests are multiplied by the high bytes of one gate
//   panel:  -zero_point * sum(w), of dynamic ones sum(w), int32 [G][lanes] | multiplier float [G][lanes] | bias float
//   [G][lanes]
//           | weights int8 [ceil(K / 4)][G][lanes][4]
// with zeros where k or a unit is padding.
#pragma once
#include <cstdint>

#include "base/isa.h"
#include "base/requantize.h"
#include "gemm/gemm.h"

namespace fxquant {

enum class Recurrence : int32_t { lstm = 0, gru = 1, rnn_tanh = 2, rnn_relu = 3 };

constexpr int64_t gates_of(Recurrence kind) { return kind == Recurrence::lstm ? 4 : kind == Recurrence::gru ? 3 : 1; }

constexpr int64_t candidate_of(Recurrence kind) { return kind == Recurrence::lstm || kind == Recurrence::gru ? 2 : 0; }

// One of the two products: weight [G * H, depth], multiplier and bias [G * H], all contiguous. `low` [H, depth], if the
// candidate gate of `weight` holds high bytes.
struct GateWeights {
  int64_t depth = 0;
  const int8_t* weight = nullptr;
  const float *multiplier = nullptr, *bias = nullptr;
  int32_t zero_point = 0;
  const int8_t* low = nullptr;
};

// What packed weights begin with.
struct RecurrentHeader {
  uint64_t checksum;  // header_checksum of base/packed.h
  uint32_t magic;
  Isa isa;
  Recurrence kind;
  int32_t h_zero_point;
  int64_t inputs, hidden, lanes, size;
  int32_t dynamic;
  int16_t two_bytes, biased;  // biased: b has biases that are not 0

  int64_t gates() const { return gates_of(kind); }
  int64_t weight_gates() const { return gates() + (two_bytes ? 1 : 0); }        // of a panel
  int64_t input_gates() const { return weight_gates() + (two_bytes ? 1 : 0); }  // of a, the products of rests included
  int64_t panels() const { return (hidden + lanes - 1) / lanes; }
  int64_t gate_bytes(int64_t depth) const { return lanes * (12 + (depth + 3) / 4 * 4); }  // in a panel
  int64_t input_panel_bytes() const { return weight_gates() * gate_bytes(inputs); }
  int64_t rest_panel_bytes() const { return two_bytes ? gate_bytes(inputs) : 0; }
  int64_t hidden_panel_bytes() const { return weight_gates() * gate_bytes(hidden); }
  int64_t bytes() const { return 64 + panels() * (input_panel_bytes() + rest_panel_bytes() + hidden_panel_bytes()); }
  const uint8_t* input_panels() const { return reinterpret_cast<const uint8_t*>(this) + 64; }
  const uint8_t* rest_panels() const { return input_panels() + panels() * input_panel_bytes(); }
  const uint8_t* hidden_panels() const { return rest_panels() + panels() * rest_panel_bytes(); }
};
static_assert(sizeof(RecurrentHeader) <= 64, "panels begin behind 64 bytes");

int64_t recurrent_packed_size(Recurrence kind, int64_t inputs, int64_t hidden, bool two_bytes, Isa isa);
// Of a dynamic one the weights' zero points mean nothing, and either both have low bytes or neither has.
void pack_recurrent(Recurrence kind, int64_t hidden, const GateWeights& input, const GateWeights& recurrent,
                    bool dynamic, Isa isa, uint8_t* packed);

// The header of `size` bytes at `packed`. Throws std::invalid_argument unless they were packed for `isa`.
const RecurrentHeader& recurrent_header(const uint8_t* packed, int64_t size, Isa isa);

// y and x are [steps, batch, ...], h0 and c [batch, hidden]; elements of a row lie side by side, and strides are in
// elements. `blocks`: parts of the batch that threads may take.
struct Recurrent {
  const RecurrentHeader* weights = nullptr;
  int64_t steps = 0, batch = 0, blocks = 1;
  int64_t y_step = 0, y_row = 0, x_step = 0, x_row = 0, h0_row = 0, c0_row = 0, last_row = 0;
  bool reverse = false;
  float h_scale = 1.0F;
  Requantize output;  // its zero_point is h_zero_point; of dynamic ones, the codes of x and h
};

// h0 null: zeros; c0 null: zeros; `last`, for the last c (of gru and rnn the last s), may be null. y, x and h0 are
// uint8 or, of dynamic ones, float.
struct RecurrentOperands {
  void* y;
  const void *x, *h0;
  const float* c0;
  float* last;
};

// Of the codes of what codes of terms `x` leave.
RowTerms rest_terms_of(const RowTerms& x);

struct RecurrentKernels {
  int64_t lanes;
  // Rows [begin, end) of the batch, `block_steps` steps at a time.
  void (*run)(const Recurrent& params, const RecurrentOperands& operands, int64_t begin, int64_t end,
              int64_t block_steps, uint8_t* scratch);
};

// How many blocks are worth it on `threads` threads, and the bytes of scratch that all of them want.
int64_t recurrent_blocks(const RecurrentHeader& weights, int64_t steps, int64_t batch, int threads);
int64_t recurrent_scratch(const RecurrentHeader& weights, int64_t steps, int64_t batch, int64_t blocks);

void recurrent(const Recurrent& params, const RecurrentOperands& operands, uint8_t* scratch, int threads);

}  // namespace fxquant
