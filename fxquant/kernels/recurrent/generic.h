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
// alone has several chains of sums, since each dot product waits for the one before in its chain. `backward`: weights
// are read from the end on. Not inlined: constants of what is around it would take the registers of accumulators.
template <class M, int Gates, int Rows, class Terms>
__attribute__((noinline)) void multiply(float* const (&to)[Rows], const uint8_t* const (&rows)[Rows],
                                        const Terms (&terms)[Rows], int64_t depth, const uint8_t* panel, bool biased,
                                        bool backward = false) {
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
  const int64_t whole = depth / 4, ahead = backward ? -1 : 1;
  const auto step = [&](auto chain, int64_t k, const auto& load) FXQUANT_UNROLLED {
    const uint8_t* weights = panel + (3 + k) * Gates * kVector;
    typename M::Weights w[Gates];
    unroll<Gates>([&](auto g) FXQUANT_UNROLLED { w[g] = M::weights(weights + g * kVector); });
    unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
      const auto x = M::broadcast(load(rows[m] + 4 * k));
      unroll<Gates>([&](auto g) FXQUANT_UNROLLED { acc[chain][m][g] = M::dot(acc[chain][m][g], x, w[g]); });
    });
  };
  const auto four = [](const uint8_t* row) FXQUANT_UNROLLED { return load_as<uint32_t>(row); };
  if (4 * whole < depth) {
    step(Index<0>{}, whole, [&](const uint8_t* row) FXQUANT_UNROLLED {
      return static_cast<uint32_t>(load_bytes(row, depth - 4 * whole));
    });
  }
  int64_t k = backward ? whole - 1 : 0, left = whole;
  for (; left >= kChains; left -= kChains) {
    unroll<kChains>([&](auto c) FXQUANT_UNROLLED {
      step(c, k, four);
      k += ahead;
    });
  }
  for (; left > 0; --left, k += ahead) step(Index<0>{}, k, four);
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

// Static ones are of integers, dynamic ones of floats, whose candidate gate may have weights of two bytes.
enum class RecurrentForm { integers, dynamic, two_bytes };

// Rows [begin, end) of a batch, with their part of the scratch: the codes of h before and after a step, c or s, and the
// a of a block of steps, [step][panel][row][gate][lane]; of a dynamic one also s[t] and, for codes of h and for those
// of the x of a block and what they leave, their terms.
template <class M, Recurrence Kind, RecurrentForm Form>
struct Sequence : RecurrentScratch {
  static constexpr bool kDynamic = Form != RecurrentForm::integers, kTwoBytes = Form == RecurrentForm::two_bytes;
  static constexpr int kGates = static_cast<int>(gates_of(Kind)), kCandidate = static_cast<int>(candidate_of(Kind));
  // Of a panel; of a, with products of rests.
  static constexpr int kWeightGates = kGates + (kTwoBytes ? 1 : 0), kInputGates = kWeightGates + (kTwoBytes ? 1 : 0);
  static constexpr int64_t kLanes = M::kCount;
  using Value = std::conditional_t<kDynamic, float, uint8_t>;
  using Terms = std::conditional_t<kDynamic, RowTerms, NoTerms>;

  const Recurrent& p;
  const RecurrentOperands& o;
  const RecurrentHeader& w;
  int64_t begin, rows;
  float one_by_scale;

  Sequence(const Recurrent& params, const RecurrentOperands& operands, int64_t first, int64_t last, int64_t steps,
           uint8_t* scratch)
      : RecurrentScratch(*params.weights, last - first, steps, scratch),
        p(params),
        o(operands),
        w(*params.weights),
        begin(first),
        rows(last - first),
        one_by_scale(static_cast<float>(1.0 / static_cast<double>(p.h_scale))) {}

  Levels levels() const { return {p.output.quant_min, p.output.quant_max}; }
  int64_t time(int64_t i) const { return p.reverse ? p.steps - 1 - i : i; }
  float* inputs_of(int64_t step, int64_t panel, int64_t row) const {
    return inputs + ((step * w.panels() + panel) * rows + row) * kInputGates * kLanes;
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
      if constexpr (kDynamic) {
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

  // What the `terms` of `codes` leave of x, in codes of its own.
  RowTerms quantize_rest(uint8_t* to, const float* x, const uint8_t* codes, const RowTerms& terms) const {
    const auto zero_point = M::set(static_cast<float>(terms.zero_point)), scale = M::set(terms.scale);
    for (int64_t k = 0; k < w.inputs; k += kLanes) {
      const int64_t left = std::min(w.inputs - k, kLanes);
      const auto known = M::mul(M::sub(M::load_u8(codes + k, left), zero_point), scale);
      M::store_f32(rest + k, M::sub(M::load_f32(x + k, left), known));
    }
    const RowTerms of_rest = rest_terms_of(terms);
    dynamic_quantize<M>(to, rest, w.inputs, of_rest, Levels());
    return of_rest;
  }

  // The codes of steps [first, first + steps) of x.
  void quantize_inputs(int64_t first, int64_t steps) const {
    for (int64_t i = 0; i < steps * rows; ++i) {
      const float* x = x_of(first + i / rows, i % rows);
      uint8_t* codes = x_codes + i * x_stride;
      x_terms[i] = quantize(codes, x, w.inputs);
      if constexpr (kTwoBytes) rest_terms[i] = quantize_rest(rest_codes + i * x_stride, x, codes, x_terms[i]);
    }
  }

  // The a of steps [first, first + steps).
  void multiply_inputs(int64_t first, int64_t steps) const {
    const int64_t count = steps * rows;
    if constexpr (kDynamic) quantize_inputs(first, steps);
    const auto codes_of = [&](int64_t row) FXQUANT_UNROLLED {
      if constexpr (kDynamic) {
        return x_codes + row * x_stride;
      } else {
        return x_of(first + row / rows, row % rows);
      }
    };
    multiply_block<kWeightGates>(count, w.input_panels(), 0, codes_of, x_terms, true);
    if constexpr (kTwoBytes) {
      const auto rest_of = [&](int64_t row) FXQUANT_UNROLLED { return rest_codes + row * x_stride; };
      multiply_block<1>(count, w.rest_panels(), kWeightGates, rest_of, rest_terms, false);
    }
  }

  // So many gates of the a of a block of `count` rows, from `gate` on.
  template <int Gates, class CodesOf>
  void multiply_block(int64_t count, const uint8_t* panels, int64_t gate, const CodesOf& codes_of,
                      const RowTerms* block_terms, bool biased) const {
    const int64_t bytes = Gates * w.gate_bytes(w.inputs);
    for (int64_t panel = 0; panel < w.panels(); ++panel) {
      tiles<Gates>(count, [&](auto tile, int64_t row) FXQUANT_UNROLLED {
        constexpr int kRows = tile;
        const uint8_t* from[kRows];
        float* to[kRows];
        Terms terms[kRows];
        unroll<kRows>([&](auto m) FXQUANT_UNROLLED {
          from[m] = codes_of(row + m);
          to[m] = inputs_of((row + m) / rows, panel, (row + m) % rows) + gate * kLanes;
          if constexpr (kDynamic) terms[m] = block_terms[row + m];
        });
        multiply<M, Gates, kRows>(to, from, terms, w.inputs, panels + panel * bytes, biased);
      });
    }
  }

  // The b of a panel's units for a tile of rows.
  struct Products {
    int64_t panel = 0, row = 0, count = 0;
    alignas(64) float b[kTileRows<M, kWeightGates>][kWeightGates * kLanes];
  };

  // The states that they make at step `i`, the number `step` of its block.
  void become_states(const Products& made, int64_t step) const {
    const auto output = M::output(p.output);
    const auto inverse = M::set(one_by_scale);
    for (int64_t m = 0; m < made.count; ++m) {
      const int64_t row = made.row + m, at = row * units + made.panel * kLanes;
      const float *inputs_at = inputs_of(step, made.panel, row), *b_at = made.b[m];
      const auto load = [](const float* from, int64_t g) FXQUANT_UNROLLED { return M::load_f32(from + g * kLanes); };
      // What low bytes and rests give lies behind all gates.
      const auto a = [&](int64_t g) FXQUANT_UNROLLED {
        if (!kTwoBytes || g != kCandidate) return load(inputs_at, g);
        return M::add(M::add(load(inputs_at, g), load(inputs_at, kGates)), load(inputs_at, kGates + 1));
      };
      const auto b = [&](int64_t g) FXQUANT_UNROLLED {
        return !kTwoBytes || g != kCandidate ? load(b_at, g) : M::add(load(b_at, g), load(b_at, kGates));
      };
      const auto s = next_state<M, Kind>(a, b, state + at);
      if constexpr (kDynamic) {
        M::store_f32(real + at, s);
      } else {
        M::store_u8(next + at, kLanes, M::mul(s, inverse), output);
      }
    }
  }

  // Step `i`, the number `step` of its block. Weights are read to and fro: those that a step ends with are still in L1
  // for the next. A tile's products become states behind those of the next tile: nothing waits for them then, and
  // weights keep arriving from L2, whose rate is the limit.
  void advance(int64_t i, int64_t step) {
    const int64_t bytes = w.hidden_panel_bytes();
    const bool backward = i % 2 != 0;
    Products products[2];
    Products *now = products, *before = products + 1;
    for (int64_t n = 0; n < w.panels(); ++n) {
      const int64_t panel = backward ? w.panels() - 1 - n : n;
      const uint8_t* weights = w.hidden_panels() + panel * bytes;
      tiles<kWeightGates>(rows, [&](auto count, int64_t row) FXQUANT_UNROLLED {
        constexpr int kRows = count;
        const uint8_t* from[kRows];
        float* to[kRows];
        Terms terms[kRows];
        unroll<kRows>([&](auto m) FXQUANT_UNROLLED {
          from[m] = h + (row + m) * units;
          to[m] = now->b[m];
          if constexpr (kDynamic) terms[m] = h_terms[row + m];
        });
        multiply<M, kWeightGates, kRows>(to, from, terms, w.hidden, weights, w.biased != 0, backward);
        now->panel = panel;
        now->row = row;
        now->count = kRows;
        become_states(*before, step);
        std::swap(now, before);
      });
    }
    become_states(*before, step);
    finish_step(time(i));
  }

  // Writes h[t], and makes it what the next step reads.
  void finish_step(int64_t t) {
    for (int64_t row = 0; row < rows; ++row) {
      Value* y = static_cast<Value*>(o.y) + t * p.y_step + (begin + row) * p.y_row;
      if constexpr (kDynamic) {
        const float* s = real + row * units;
        h_terms[row] = quantize(h + row * units, s, w.hidden);
        std::memcpy(y, s, static_cast<size_t>(w.hidden) * sizeof(float));
      } else {
        std::memcpy(y, next + row * units, static_cast<size_t>(w.hidden));
      }
    }
    if constexpr (!kDynamic) {
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

template <class M, Recurrence Kind, RecurrentForm Form>
void run_sequence(const Recurrent& p, const RecurrentOperands& o, int64_t begin, int64_t end, int64_t block_steps,
                  uint8_t* scratch) {
  Sequence<M, Kind, Form> sequence(p, o, begin, end, block_steps, scratch);
  sequence.start();
  for (int64_t first = 0; first < p.steps; first += block_steps) {
    const int64_t steps = std::min(block_steps, p.steps - first);
    sequence.multiply_inputs(first, steps);
    for (int64_t step = 0; step < steps; ++step) sequence.advance(first + step, step);
  }
  sequence.finish();
}

template <class M, Recurrence Kind>
void run_sequence(const Recurrent& p, const RecurrentOperands& o, int64_t begin, int64_t end, int64_t block_steps,
                  uint8_t* scratch) {
  const RecurrentHeader& w = *p.weights;
  const auto run = w.two_bytes ? run_sequence<M, Kind, RecurrentForm::two_bytes>
                   : w.dynamic ? run_sequence<M, Kind, RecurrentForm::dynamic>
                               : run_sequence<M, Kind, RecurrentForm::integers>;
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
