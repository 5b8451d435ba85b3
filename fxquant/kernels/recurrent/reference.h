// The truth that every kernel of the family is held against.
#pragma once
#include <cmath>
#include <cstdint>
#include <vector>

#include "dynamic/reference.h"
#include "recurrent/recurrent.h"

namespace fxquant {

// As of base/exponential.h, for t in [-60, 60].
inline float reference_power_of_2(float t) {
  if (!(t > -60.0F)) t = -60.0F;
  const float n = std::nearbyint(t), f = t - n;
  const float high = (f * 0.001326472731307149F + 0.009671512991189957F) * f + 0.05550733581185341F;
  const float sum = ((high * f + 0.24022242426872253F) * f + 0.6931470036506653F) * f + 1.0F;
  return std::ldexp(sum, static_cast<int>(n));
}

inline float reference_sigmoid(float v) {
  if (!(v > -40.0F)) v = -40.0F;
  return 1.0F / (1.0F + reference_power_of_2(v * -1.4426950408889634F));
}

inline float reference_tanh(float v) {
  if (!(v > -20.0F)) v = -20.0F;
  return 2.0F / (1.0F + reference_power_of_2(v * -2.8853900817779268F)) - 1.0F;
}

inline float reference_sum(const int8_t* weight, int64_t depth, const uint8_t* row, const RowTerms& terms) {
  int32_t acc = 0;
  for (int64_t k = 0; k < depth; ++k) acc += (row[k] - terms.zero_point) * weight[k];
  return static_cast<float>(acc) * terms.scale;
}

// Output n; `low_row`: its low bytes, or null.
inline float reference_gate(const GateWeights& w, int64_t n, const int8_t* low_row, const uint8_t* row,
                            const RowTerms& terms) {
  const float high = reference_sum(w.weight + n * w.depth, w.depth, row, terms);
  if (!low_row) return high * w.multiplier[n] + w.bias[n];
  const float low = reference_sum(low_row, w.depth, row, terms);
  return high * (256.0F * w.multiplier[n]) + w.bias[n] + low * w.multiplier[n];
}

inline float reference_gate(const GateWeights& w, int64_t n, const uint8_t* row) {
  return reference_gate(w, n, nullptr, row, {w.zero_point, 1.0F});
}

// s[t] of one unit; `state` is c or s of the step before, and becomes that of this one.
inline float reference_unit(Recurrence kind, const float* a, const float* b, float& state) {
  if (kind == Recurrence::lstm) {
    const float kept = reference_sigmoid(a[1] + b[1]) * state;
    state = kept + reference_sigmoid(a[0] + b[0]) * reference_tanh(a[2] + b[2]);
    return reference_sigmoid(a[3] + b[3]) * reference_tanh(state);
  }
  if (kind == Recurrence::gru) {
    const float n = reference_tanh(a[2] + reference_sigmoid(a[0] + b[0]) * b[2]);
    state = n + reference_sigmoid(a[1] + b[1]) * (state - n);
  } else {
    const float sum = a[0] + b[0];
    state = kind == Recurrence::rnn_tanh ? reference_tanh(sum) : sum > 0.0F ? sum : 0.0F;
  }
  return state;
}

inline void reference_recurrent(const Recurrent& p, Recurrence kind, int64_t hidden, const GateWeights& input,
                                const GateWeights& recurrent, const RecurrentOperands& o) {
  const int64_t gates = gates_of(kind);
  const float inverse = static_cast<float>(1.0 / static_cast<double>(p.h_scale));
  const auto *x = static_cast<const uint8_t*>(o.x), *h0 = static_cast<const uint8_t*>(o.h0);
  for (int64_t row = 0; row < p.batch; ++row) {
    std::vector<uint8_t> h(static_cast<size_t>(hidden), static_cast<uint8_t>(p.output.zero_point)), next(h);
    std::vector<float> state(static_cast<size_t>(hidden), 0.0F);
    for (int64_t u = 0; u < hidden; ++u) {
      if (h0) h[u] = h0[row * p.h0_row + u];
      if (kind == Recurrence::lstm && o.c0) state[u] = o.c0[row * p.c0_row + u];
      if (kind == Recurrence::gru) state[u] = static_cast<float>(h[u] - p.output.zero_point) * p.h_scale;
    }
    for (int64_t i = 0; i < p.steps; ++i) {
      const int64_t t = p.reverse ? p.steps - 1 - i : i;
      for (int64_t u = 0; u < hidden; ++u) {
        float a[4], b[4];
        for (int64_t g = 0; g < gates; ++g) {
          a[g] = reference_gate(input, g * hidden + u, x + t * p.x_step + row * p.x_row);
          b[g] = reference_gate(recurrent, g * hidden + u, h.data());
        }
        next[u] = round_and_saturate(reference_unit(kind, a, b, state[u]) * inverse, p.output);
        static_cast<uint8_t*>(o.y)[t * p.y_step + row * p.y_row + u] = next[u];
      }
      h = next;
    }
    for (int64_t u = 0; o.last && u < hidden; ++u) o.last[row * p.last_row + u] = state[u];
  }
}

inline void reference_codes(const float* row, int64_t count, const RowTerms& terms, const Levels& levels,
                            std::vector<uint8_t>& codes) {
  codes.resize(static_cast<size_t>(count));
  for (int64_t k = 0; k < count; ++k) codes[static_cast<size_t>(k)] = reference_code(row[k], terms, levels);
}

// The codes of a row, and what they stand for.
inline RowTerms reference_codes(const float* row, int64_t count, const Levels& levels, std::vector<uint8_t>& codes) {
  const RowTerms terms = reference_terms(row, 1, 0, count, levels);
  reference_codes(row, count, terms, levels, codes);
  return terms;
}

// The same of what `x_codes` leave of a row.
inline RowTerms reference_rest(const float* row, int64_t count, const std::vector<uint8_t>& x_codes,
                               const RowTerms& x_terms, std::vector<uint8_t>& codes) {
  std::vector<float> rest(row, row + count);
  for (size_t k = 0; k < rest.size(); ++k) {
    const float known = static_cast<float>(x_codes[k] - x_terms.zero_point) * x_terms.scale;
    rest[k] -= known;
  }
  const RowTerms terms = rest_terms_of(x_terms);
  reference_codes(rest.data(), count, terms, Levels(), codes);
  return terms;
}

// The same of a dynamic one.
inline void reference_dynamic_recurrent(const Recurrent& p, Recurrence kind, int64_t hidden, const GateWeights& input,
                                        const GateWeights& recurrent, const RecurrentOperands& o) {
  const int64_t gates = gates_of(kind);
  const Levels levels = {p.output.quant_min, p.output.quant_max};
  std::vector<uint8_t> x_codes, rest_codes, h_codes;
  for (int64_t row = 0; row < p.batch; ++row) {
    std::vector<float> h(static_cast<size_t>(hidden), 0.0F), state(h), next(h);
    for (int64_t u = 0; u < hidden; ++u) {
      if (o.h0) h[u] = static_cast<const float*>(o.h0)[row * p.h0_row + u];
      if (o.c0) state[u] = o.c0[row * p.c0_row + u];
      if (kind == Recurrence::gru) state[u] = h[u];
    }
    for (int64_t i = 0; i < p.steps; ++i) {
      const int64_t t = p.reverse ? p.steps - 1 - i : i;
      const auto* x = static_cast<const float*>(o.x) + t * p.x_step + row * p.x_row;
      const RowTerms x_terms = reference_codes(x, input.depth, levels, x_codes);
      const RowTerms rest_terms = reference_rest(x, input.depth, x_codes, x_terms, rest_codes);
      const RowTerms h_terms = reference_codes(h.data(), hidden, levels, h_codes);
      for (int64_t u = 0; u < hidden; ++u) {
        float a[4], b[4];
        for (int64_t g = 0; g < gates; ++g) {
          const int64_t n = g * hidden + u;
          const bool two_bytes = input.low && g == candidate_of(kind);
          a[g] = reference_gate(input, n, two_bytes ? input.low + u * input.depth : nullptr, x_codes.data(), x_terms);
          if (two_bytes) {
            const int8_t* high = input.weight + n * input.depth;
            const float rest = reference_sum(high, input.depth, rest_codes.data(), rest_terms);
            a[g] += rest * (256.0F * input.multiplier[n]);
          }
          b[g] =
              reference_gate(recurrent, n, two_bytes ? recurrent.low + u * hidden : nullptr, h_codes.data(), h_terms);
        }
        next[u] = reference_unit(kind, a, b, state[u]);
        static_cast<float*>(o.y)[t * p.y_step + row * p.y_row + u] = next[u];
      }
      h = next;
    }
    for (int64_t u = 0; o.last && u < hidden; ++u) o.last[row * p.last_row + u] = state[u];
  }
}

}  // namespace fxquant
