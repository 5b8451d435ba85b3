// The loops over panels, steps and rows. A Machine is an ISA's dot products and float lanes (base/dot_scalar.h).
#pragma once
#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include "base/exponential.h"
#include "base/few_bytes.h"
#include "base/unroll.h"
#include "dynamic/generic.h"
#include "recurrent/scratch.h"

namespace fxquant {
namespace {

template <class M>
inline typename M::F32 sigmoid(typename M::F32 v) {
  const auto power = power_of_2<M>(M::mul(M::greater(v, M::set(-40.0F)), M::set(-kLog2E)), kExponentialFine);
  return M::div(M::set(1.0F), M::add(M::set(1.0F), power));
}

template <class M>
inline typename M::F32 tanh_of(typename M::F32 v) {
  const auto power = power_of_2<M>(M::mul(M::greater(v, M::set(-20.0F)), M::set(-2.0F * kLog2E)), kExponentialFine);
  return M::sub(M::div(M::set(2.0F), M::add(M::set(1.0F), power)), M::set(1.0F));
}

// Rows of a tile: as many as registers hold beside the weights of all gates.
template <class M, int Gates>
constexpr int kTileRows = std::clamp((M::kRows * M::kVectors - 2) / Gates, 1, 8);

// What a row of inputs brings along: nothing, or RowTerms.
struct NoTerms {};
template <class Terms>
constexpr bool kIsDynamic = true;
template <>
constexpr bool kIsDynamic<NoTerms> = false;

// a or b of recurrent.h: all gates of a panel's units, for each of `rows`, to where `to` says, [gate][lane]. One row
// alone has several chains of sums, since each dot product waits for the one before in its chain. Not inlined:
// constants of what is around it would take the registers of accumulators.
template <class M, int Gates, int Rows, class Terms>
__attribute__((noinline)) void multiply(float* const (&to)[Rows], const uint8_t* const (&rows)[Rows],
                                        const Terms (&terms)[Rows], int64_t depth, const uint8_t* panel,
                                        bool biased = true) {
  constexpr bool kDynamic = kIsDynamic<Terms>;
  constexpr int kChains = Rows > 1 ? 1 : M::kRows * M::kVectors >= 4 * Gates ? 4 : 2;
  constexpr int64_t kVector = 4 * M::kCount;
  typename M::Acc acc[kChains][Rows][Gates];
  panel = unread(panel);
  unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
    unroll<Gates>([&](auto g) FXQUANT_UNROLLED {
      acc[0][m][g] = M::load_i32(reinterpret_cast<const int32_t*>(panel + g * kVector));
      if constexpr (kDynamic) acc[0][m][g] = M::mul_i32(acc[0][m][g], M::splat_i32(-terms[m].zero_point));
      unroll<kChains - 1>([&](auto c) FXQUANT_UNROLLED { acc[c + 1][m][g] = M::splat_i32(0); });
    });
  });
  const uint8_t* weights = panel + 3 * Gates * kVector;
  const auto step = [&](auto chain, const auto& load) FXQUANT_UNROLLED {
    typename M::Weights w[Gates];
    unroll<Gates>([&](auto g) FXQUANT_UNROLLED { w[g] = M::weights(weights + g * kVector); });
    unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
      const auto x = M::broadcast(load(rows[m]));
      unroll<Gates>([&](auto g) FXQUANT_UNROLLED { acc[chain][m][g] = M::dot(acc[chain][m][g], x, w[g]); });
    });
    weights += Gates * kVector;
  };
  const int64_t whole = depth / 4 * 4;
  int64_t k = 0;
  for (; k + 4 * kChains <= whole; k += 4 * kChains) {
    unroll<kChains>([&](auto c) FXQUANT_UNROLLED {
      step(c, [&](const uint8_t* row) FXQUANT_UNROLLED { return load_as<uint32_t>(row + k + 4 * c); });
    });
  }
  for (; k < whole; k += 4) {
    step(Index<0>{}, [&](const uint8_t* row) FXQUANT_UNROLLED { return load_as<uint32_t>(row + k); });
  }
  if (k < depth) {
    step(Index<0>{},
         [&](const uint8_t* row) FXQUANT_UNROLLED { return static_cast<uint32_t>(load_bytes(row + k, depth - k)); });
  }
  panel = unread(panel);
  unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
    unroll<Gates>([&](auto g) FXQUANT_UNROLLED {
      const auto* multiplier = reinterpret_cast<const float*>(panel + (Gates + g) * kVector);
      const auto* bias = reinterpret_cast<const float*>(panel + (2 * Gates + g) * kVector);
      auto sum = acc[0][m][g];
      unroll<kChains - 1>([&](auto c) FXQUANT_UNROLLED { sum = M::add_i32(sum, acc[c + 1][m][g]); });
      auto value = M::to_float(sum);
      if constexpr (kDynamic) value = M::mul(value, M::set(terms[m].scale));
      value = M::mul(value, M::load_f32(multiplier));
      if (biased) value = M::add(value, M::load_f32(bias));
      M::store_f32(to[m] + g * M::kCount, value);
    });
  });
}

// s[t] of a vector of units from a(gate) and b(gate); `state` is that of the step before, and becomes this one's.
template <class M, Recurrence Kind, class A, class B>
FXQUANT_UNROLLED inline typename M::F32 next_state(const A& a, const B& b, float* state) {
  const auto sum = [&](int64_t g) FXQUANT_UNROLLED { return M::add(a(g), b(g)); };
  const auto before = M::load_f32(state);
  if constexpr (Kind == Recurrence::lstm) {
    const auto kept = M::mul(sigmoid<M>(sum(1)), before);
    const auto c = M::add(kept, M::mul(sigmoid<M>(sum(0)), tanh_of<M>(sum(2))));
    M::store_f32(state, c);
    return M::mul(sigmoid<M>(sum(3)), tanh_of<M>(c));
  }
  typename M::F32 s;
  if constexpr (Kind == Recurrence::gru) {
    const auto n = tanh_of<M>(M::add(a(2), M::mul(sigmoid<M>(sum(0)), b(2))));
    s = M::add(n, M::mul(sigmoid<M>(sum(1)), M::sub(before, n)));
  } else {
    s = Kind == Recurrence::rnn_tanh ? tanh_of<M>(sum(0)) : M::greater(sum(0), M::set(0.0F));
  }
  M::store_f32(state, s);
  return s;
}

// Rows [begin, end) of a batch, with their part of the scratch: the codes of h before and after a step, c or s, and the
// a of a block of steps, [step][panel][row][gate][lane]; of a dynamic one also s[t] and, for codes of h and for those
// of the x of a block, their terms.
template <class M, Recurrence Kind, bool Dynamic>
struct Sequence {
  static constexpr int kGates = static_cast<int>(gates_of(Kind));
  static constexpr int64_t kLanes = M::kCount, kGateFloats = kGates * kLanes;
  using Value = std::conditional_t<Dynamic, float, uint8_t>;
  using Terms = std::conditional_t<Dynamic, RowTerms, NoTerms>;

  const Recurrent& p;
  const RecurrentOperands& o;
  const RecurrentHeader& w;
  int64_t begin, rows, units, x_stride;
  uint8_t *h, *next, *x_codes;
  float *state, *inputs, *real;
  float one_by_scale;
  RowTerms *h_terms, *x_terms;

  Sequence(const Recurrent& params, const RecurrentOperands& operands, int64_t first, int64_t last, int64_t steps,
           uint8_t* scratch)
      : p(params), o(operands), w(*params.weights), begin(first), rows(last - first) {
    one_by_scale = static_cast<float>(1.0 / static_cast<double>(p.h_scale));
    const RecurrentScratch s(w, rows, steps, scratch);
    units = s.units;
    x_stride = s.x_stride;
    h = s.h;
    next = s.next;
    x_codes = s.x_codes;
    state = s.state;
    inputs = s.inputs;
    real = s.real;
    h_terms = s.h_terms;
    x_terms = s.x_terms;
  }

  Levels levels() const { return {p.output.quant_min, p.output.quant_max}; }
  int64_t time(int64_t i) const { return p.reverse ? p.steps - 1 - i : i; }
  float* inputs_of(int64_t step, int64_t panel, int64_t row) const {
    return inputs + ((step * w.panels() + panel) * rows + row) * kGateFloats;
  }
  const Value* x_of(int64_t step, int64_t row) const {
    return static_cast<const Value*>(o.x) + time(step) * p.x_step + (begin + row) * p.x_row;
  }

  // The codes of `count` floats, and what they stand for.
  RowTerms quantize(uint8_t* codes, const float* from, int64_t count) const {
    const RowTerms terms = row_terms(dynamic_range<M>(from, count), levels());
    dynamic_quantize<M>(codes, from, count, terms, levels());
    return terms;
  }

  void start() const {
    for (int64_t row = 0; row < rows; ++row) {
      const auto* h0 = o.h0 ? static_cast<const Value*>(o.h0) + (begin + row) * p.h0_row : nullptr;
      float* before = state + row * units;
      std::memset(before, 0, static_cast<size_t>(units) * sizeof(float));
      if constexpr (Dynamic) {
        float* s = real + row * units;
        std::memset(s, 0, static_cast<size_t>(units) * sizeof(float));
        if (h0) std::memcpy(s, h0, static_cast<size_t>(w.hidden) * sizeof(float));
        h_terms[row] = quantize(h + row * units, s, w.hidden);
        if (Kind == Recurrence::gru) std::memcpy(before, s, static_cast<size_t>(w.hidden) * sizeof(float));
      } else {
        uint8_t* codes = h + row * units;
        std::memset(codes, p.output.zero_point, static_cast<size_t>(units));
        if (h0) std::memcpy(codes, h0, static_cast<size_t>(w.hidden));
        for (int64_t u = 0; Kind == Recurrence::gru && u < w.hidden; ++u) {
          before[u] = static_cast<float>(codes[u] - p.output.zero_point) * p.h_scale;
        }
      }
      if (Kind == Recurrence::lstm && o.c0) {
        std::memcpy(before, o.c0 + (begin + row) * p.c0_row, static_cast<size_t>(w.hidden) * sizeof(float));
      }
    }
  }

  // body(Index<count>{}, first) for tiles of [0, count) rows, of so many gates.
  template <int Gates, class Body>
  static void tiles(int64_t count, const Body& body) {
    constexpr int kMost = kTileRows<M, Gates>;
    int64_t row = 0;
    for (; row + kMost <= count; row += kMost) body(Index<kMost>{}, row);
    if constexpr (kMost > 2) {
      for (; row + 2 <= count; row += 2) body(Index<2>{}, row);
    }
    if constexpr (kMost > 1) {
      for (; row < count; ++row) body(Index<1>{}, row);
    }
  }

  // The codes of steps [first, first + steps) of x.
  void quantize_inputs(int64_t first, int64_t steps) const {
    if constexpr (Dynamic) {
      for (int64_t i = 0; i < steps * rows; ++i) {
        x_terms[i] = quantize(x_codes + i * x_stride, x_of(first + i / rows, i % rows), w.inputs);
      }
    }
  }

  // The a of steps [first, first + steps), unless they are x.
  void multiply_inputs(int64_t first, int64_t steps) const {
    if (!w.inputs) return;
    quantize_inputs(first, steps);
    const int64_t bytes = w.input_panel_bytes();
    for (int64_t panel = 0; panel < w.panels(); ++panel) {
      const uint8_t* weights = w.input_panels() + panel * bytes;
      tiles<kGates>(steps * rows, [&](auto count, int64_t row) FXQUANT_UNROLLED {
        constexpr int kRows = count;
        const uint8_t* from[kRows];
        float* to[kRows];
        Terms terms[kRows];
        unroll<kRows>([&](auto m) FXQUANT_UNROLLED {
          const int64_t step = (row + m) / rows, r = (row + m) % rows;
          if constexpr (Dynamic) {
            from[m] = x_codes + (row + m) * x_stride;
            terms[m] = x_terms[row + m];
          } else {
            from[m] = x_of(first + step, r);
          }
          to[m] = inputs_of(step, panel, r);
        });
        multiply<M, kGates, kRows>(to, from, terms, w.inputs, weights);
      });
    }
  }

  // The b of a panel's units for a tile of rows.
  struct Products {
    int64_t panel = 0, row = 0, count = 0;
    alignas(64) float b[kTileRows<M, kGates>][kGateFloats + kLanes];
  };

  // The states that they make at step `i`, the number `step` of its block.
  void become_states(const Products& made, int64_t i, int64_t step) const {
    const auto output = M::output(p.output);
    const auto inverse = M::set(one_by_scale);
    const bool given = Dynamic && !w.inputs, two_bytes = Dynamic && w.two_bytes;
    const int64_t unit = made.panel * kLanes, gap = given ? w.hidden : kLanes, left = given ? w.hidden - unit : kLanes;
    for (int64_t m = 0; m < made.count; ++m) {
      const int64_t row = made.row + m, at = row * units + unit;
      const float* inputs_at = inputs_of(step, made.panel, row);
      if (given) inputs_at = reinterpret_cast<const float*>(x_of(i, row)) + unit;
      const auto a_of = [&](int64_t g) FXQUANT_UNROLLED {
        return left < kLanes ? M::load_f32(inputs_at + g * gap, left) : M::load_f32(inputs_at + g * gap);
      };
      const auto b_of = [&](int64_t g) FXQUANT_UNROLLED { return M::load_f32(made.b[m] + g * kLanes); };
      // What low bytes give lies behind all gates.
      const auto a = [&](int64_t g) FXQUANT_UNROLLED {
        return given && two_bytes && g == candidate_of(Kind) ? M::add(a_of(g), a_of(kGates)) : a_of(g);
      };
      const auto b = [&](int64_t g) FXQUANT_UNROLLED {
        return two_bytes && g == candidate_of(Kind) ? M::add(b_of(g), b_of(kGates)) : b_of(g);
      };
      const auto s = next_state<M, Kind>(a, b, state + at);
      if constexpr (Dynamic) {
        M::store_f32(real + at, s);
      } else {
        M::store_u8(next + at, kLanes, M::mul(s, inverse), output);
      }
    }
  }

  // Step `i`, the number `step` of its block. Panels are read to and fro: the one that a step ends with is still in L1
  // for the next. A tile's products become states behind those of the next tile: nothing waits for them then, and
  // weights keep arriving from L2, whose rate is the limit.
  template <int Gates>
  void advance(int64_t i, int64_t step) {
    const int64_t bytes = w.hidden_panel_bytes();
    Products products[2];
    Products *now = products, *before = products + 1;
    for (int64_t n = 0; n < w.panels(); ++n) {
      const int64_t panel = i % 2 ? w.panels() - 1 - n : n;
      const uint8_t* weights = w.hidden_panels() + panel * bytes;
      tiles<Gates>(rows, [&](auto count, int64_t row) FXQUANT_UNROLLED {
        constexpr int kRows = count;
        const uint8_t* from[kRows];
        float* to[kRows];
        Terms terms[kRows];
        unroll<kRows>([&](auto m) FXQUANT_UNROLLED {
          from[m] = h + (row + m) * units;
          to[m] = now->b[m];
          if constexpr (Dynamic) terms[m] = h_terms[row + m];
        });
        multiply<M, Gates, kRows>(to, from, terms, w.hidden, weights, w.biased != 0);
        now->panel = panel;
        now->row = row;
        now->count = kRows;
        become_states(*before, i, step);
        std::swap(now, before);
      });
    }
    become_states(*before, i, step);
    finish_step(time(i));
  }

  // Writes h[t], and makes it what the next step reads.
  void finish_step(int64_t t) {
    for (int64_t row = 0; row < rows; ++row) {
      Value* y = static_cast<Value*>(o.y) + t * p.y_step + (begin + row) * p.y_row;
      if constexpr (Dynamic) {
        const float* s = real + row * units;
        h_terms[row] = quantize(h + row * units, s, w.hidden);
        std::memcpy(y, s, static_cast<size_t>(w.hidden) * sizeof(float));
      } else {
        std::memcpy(y, next + row * units, static_cast<size_t>(w.hidden));
      }
    }
    if constexpr (!Dynamic) {
      uint8_t* before = h;
      h = next;
      next = before;
    }
  }

  void finish() const {
    for (int64_t row = 0; o.last && row < rows; ++row) {
      const size_t bytes = static_cast<size_t>(w.hidden) * sizeof(float);
      std::memcpy(o.last + (begin + row) * p.last_row, state + row * units, bytes);
    }
  }
};

template <class M, Recurrence Kind, bool Dynamic>
void run_sequence(const Recurrent& p, const RecurrentOperands& o, int64_t begin, int64_t end, int64_t block_steps,
                  uint8_t* scratch) {
  constexpr int kGates = static_cast<int>(gates_of(Kind));
  Sequence<M, Kind, Dynamic> sequence(p, o, begin, end, block_steps, scratch);
  sequence.start();
  for (int64_t first = 0; first < p.steps; first += block_steps) {
    const int64_t steps = first + block_steps < p.steps ? block_steps : p.steps - first;
    sequence.multiply_inputs(first, steps);
    for (int64_t step = 0; step < steps; ++step) {
      if (Dynamic && p.weights->two_bytes) {
        sequence.template advance<kGates + (Dynamic ? 1 : 0)>(first + step, step);
      } else {
        sequence.template advance<kGates>(first + step, step);
      }
    }
  }
  sequence.finish();
}

template <class M, Recurrence Kind>
void run_sequence(const Recurrent& p, const RecurrentOperands& o, int64_t begin, int64_t end, int64_t block_steps,
                  uint8_t* scratch) {
  const auto run = p.weights->dynamic ? run_sequence<M, Kind, true> : run_sequence<M, Kind, false>;
  run(p, o, begin, end, block_steps, scratch);
}

template <class M>
void run_recurrent(const Recurrent& p, const RecurrentOperands& o, int64_t begin, int64_t end, int64_t block_steps,
                   uint8_t* scratch) {
  switch (p.weights->kind) {
    case Recurrence::lstm:
      return run_sequence<M, Recurrence::lstm>(p, o, begin, end, block_steps, scratch);
    case Recurrence::gru:
      return run_sequence<M, Recurrence::gru>(p, o, begin, end, block_steps, scratch);
    case Recurrence::rnn_tanh:
      return run_sequence<M, Recurrence::rnn_tanh>(p, o, begin, end, block_steps, scratch);
    case Recurrence::rnn_relu:
      return run_sequence<M, Recurrence::rnn_relu>(p, o, begin, end, block_steps, scratch);
  }
}

template <class M>
constexpr RecurrentKernels recurrent_table() {
  return {M::kCount, run_recurrent<M>};
}

}  // namespace
}  // namespace fxquant
