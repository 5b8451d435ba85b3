// The tiles of the product, written once for all ISAs.
//
// A Machine is an ISA's instruction table:
//   kRows, kLanes, kVectors                its row of kernels.inc
//   Acc, Activations, Weights              kLanes accumulators; four bytes of a row, broadcast; one step of weights
//   Acc load(const int32_t*)               kLanes consecutive int32
//   Activations broadcast(uint32_t)        the same four bytes for every lane
//   Weights weights(const uint8_t*)        kStepBytes of packed weights
//   Acc dot(Acc, Activations, Weights)     acc[lane] += sum of 4 u8 * s8, exact
//   kStoredRows<Vectors>                   rows that are requantized together; and
//   store<Rows, Vectors, HasResidual, Finish>(...)     which writes at most so many
//   store_floats(Acc, int v, const Panel&, float scale, float*)   to_float of vector v of a panel
//   Acc times(const int32_t*, int32_t)     kLanes consecutive int32, each times the same
//   kAdds                                  whether a single row is summed up in several Acc; if so
//   Acc zero(), add(Acc, Acc)
//   kPipelinedRows<Vectors>                rows of a tile in pipelined.h, a multiple of kStoredRows; 0: never so
//   kHalves                                whether there are panels that are `half`; if so
//   Half                                   the Machine of these, which takes them for one vector
//   kSpreads                               whether weights may be packed as `spread`; if so
//   Activations spread<Steps, Step>(const uint8_t*)    for every lane its group's four bytes, of a row's 16 of a tap
//
// Everything is in an anonymous namespace and uses no library template: this header is compiled once an ISA, and the
// linker must not merge two ISAs' copies. Loops over accumulators are unrolled by construction, since an array that a
// run-time loop walks stays in memory.
#pragma once
#include <cstdint>
#include <utility>

#include "base/unroll.h"
#include "gemm/gemm.h"
#include "gemm/pack.h"
#include "gemm/run.h"

#define FXQUANT_INLINE FXQUANT_UNROLLED inline

namespace fxquant {
namespace {

// What the stores of a panel have to see to. plain: every column of the panel exists, there is no table, and the bounds
// are those of a byte, so that packing saturates as they would. careful: what any may, for values beyond int32.
// The tiles of pipelined.h alone are told of packed: plain, with a zero point of 0; and of floats: outputs are floats,
// and all that a panel has lie side by side.
enum class Finish { plain, any, careful, packed, floats };

// Output rows that follow each other at one distance, and so do their inputs and residuals. Outputs may have a gap
// behind every `line` of them, as the lines of an image that lies within a larger one have, and inputs too, if no tile
// reaches over the end of a line.
struct RowRun {
  const uint8_t *a, *residual;  // residual: or RowTerms of a dynamic layer, or null, then with step 0
  uint8_t* y;
  int64_t a_step, residual_step, y_step, count;
  int64_t line = INT64_MAX, gap = 0, a_gap = 0, left = INT64_MAX;  // left: rows in front of the first gap, at least one

  FXQUANT_INLINE RowRun from(int64_t row) const {
    RowRun rest = *this;
    rest.a += row * a_step;
    rest.residual += row * residual_step;
    rest.y += row * y_step;
    rest.count -= row;
    rest.left -= row;
    if (rest.left <= 0) rest.a += a_gap * rest.pass_gaps();
    return rest;
  }
  FXQUANT_INLINE RowRun first(int64_t rows) const {
    RowRun run = *this;
    run.count = rows;
    return run;
  }

  // Where the first Rows outputs go, from which `y` moves on.
  template <int Rows>
  FXQUANT_INLINE void take_outputs(uint8_t* (&to)[Rows]) {
    if (left >= Rows) {
      unroll<Rows>([&](auto i) FXQUANT_UNROLLED { to[i] = y + i * y_step; });
      y += Rows * y_step;
      left -= Rows;
      if (left == 0) pass_gaps();
      return;
    }
    unroll<Rows>([&](auto i) FXQUANT_UNROLLED {
      to[i] = y;
      y += y_step;
      if (--left == 0) pass_gaps();
    });
  }

 private:
  // Moves outputs over the gaps in front of the next row, and gives how many these are.
  FXQUANT_INLINE int64_t pass_gaps() {
    const int64_t gaps = -left / line + 1;
    y += gaps * gap;
    left += gaps * line;
    return gaps;
  }
};

// `value`, of which the compiler knows nothing: what is computed from it is computed where it is used, not ahead of a
// loop where it would take one of too few registers.
template <class T>
FXQUANT_INLINE T opaque(T value) {
  asm("" : "+r"(value));
  return value;
}

// The inputs of a tile's rows.
struct InputRows {
  const uint8_t* first;
  int64_t step;

  FXQUANT_INLINE const uint8_t* operator[](int row) const { return first + row * step; }
};

// The same on the way along their bytes. Three rows share a pointer: a pointer each would be too many registers.
template <int Rows>
class MovingRows {
 public:
  FXQUANT_INLINE MovingRows(const InputRows& rows, int64_t offset) : step_(rows.step) {
    unroll<kPointers>([&](auto i) FXQUANT_UNROLLED { at_[i] = opaque(rows[3 * i] + offset); });
  }
  FXQUANT_INLINE const uint8_t* operator[](int row) const { return at_[row / 3] + row % 3 * step_; }
  FXQUANT_INLINE void advance(int64_t bytes) {
    unroll<kPointers>([&](auto i) FXQUANT_UNROLLED { at_[i] += bytes; });
  }

 private:
  static constexpr int kPointers = (Rows + 2) / 3;
  const uint8_t* at_[kPointers];
  int64_t step_;
};

// One panel, and what the stores need to know.
struct Panel {
  const int32_t* bias;  // of a dynamic layer the sums of weights
  const float* multiplier;
  const float* float_bias;  // of float outputs, else null
  int64_t float_step;       // bytes from a column of these to the next
  const uint8_t* weights;
  int64_t a_offset;  // of the panel's group
  int64_t column;    // first column of the output
  int64_t columns;   // how many of the panel's columns exist
  Requantize output;
  FloatOutput float_output;
  Residual residual;
  const uint8_t* table;  // or null
  bool dynamic;          // rows have RowTerms, whose zero point is subtracted from this
  int32_t offset;
  bool plain;         // all of Finish::plain holds
  bool whole_floats;  // all of Finish::floats does
  int vectors;
  bool half;         // of two vectors, in natural order, half of the second is empty
  int spread_steps;  // of a tap; 0: not spread
};

// The panel packed at `packed`, whose first column is followed by `rest` - 1 others of its group.
template <class Machine>
Panel panel_of(const PackedHeader& header, const uint8_t* packed, int vectors, int64_t rest) {
  const int64_t columns = static_cast<int64_t>(Machine::kLanes) * vectors;
  Panel panel{};
  panel.vectors = vectors;
  panel.bias = reinterpret_cast<const int32_t*>(packed);
  panel.multiplier = reinterpret_cast<const float*>(packed + 4 * columns);
  panel.float_bias = header.gives_floats ? reinterpret_cast<const float*>(packed + 8 * columns) : nullptr;
  panel.weights = packed + epilogue_bytes(header.gives_floats) * columns;
  panel.columns = rest < columns ? rest : columns;
  panel.output = header.output;
  panel.float_output = header.float_output;
  panel.residual = header.residual;
  panel.table = header.has_table ? header.table() : nullptr;
  panel.dynamic = is_dynamic(header.layer);
  panel.offset = activation_offset(header.isa);
  panel.spread_steps = header.spread / 4;
  panel.plain = panel.columns == columns && !panel.table && !panel.float_bias && panel.output.quant_min == 0 &&
                panel.output.quant_max == 255;
  return panel;
}

// What tiles fetch into the L2 cache while they compute: `step` bytes further with every step over k, so `tile` bytes
// with every tile.
struct Ahead {
  const uint8_t* at;
  int64_t step, tile;
};

FXQUANT_INLINE void fetch(Ahead& ahead) {
  __builtin_prefetch(ahead.at, 0, 2);
  ahead.at += ahead.step;
}

FXQUANT_INLINE uint32_t load_step(const uint8_t* p) {
  uint32_t value;
  __builtin_memcpy(&value, p, 4);
  return value;
}

// The last `count` (1 to 3) bytes of a tap, nothing behind them read.
FXQUANT_INLINE uint32_t load_rest(const uint8_t* p, int64_t count) {
  uint32_t value = p[0];
  if (count > 1) value |= static_cast<uint32_t>(p[1]) << 8;
  if (count > 2) value |= static_cast<uint32_t>(p[2]) << 16;
  return value;
}

// acc[row][vector] += the product of one step, whose bytes of a row `load` fetches.
template <class Machine, int Rows, int Vectors, class Load>
FXQUANT_INLINE void multiply_step(typename Machine::Acc (&acc)[Rows][Vectors], const MovingRows<Rows>& row,
                                  const uint8_t* weights, const Load& load) {
  typename Machine::Weights b[Vectors];
  unroll<Vectors>([&](auto v) FXQUANT_UNROLLED { b[v] = Machine::weights(weights + v * Machine::kStepBytes); });
  unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
    const auto x = Machine::broadcast(load(row[m]));
    unroll<Vectors>([&](auto v) FXQUANT_UNROLLED { acc[m][v] = Machine::dot(acc[m][v], x, b[v]); });
  });
}

// acc[row][vector] += the product over all taps. A tap of 4 * j + r bytes takes j full steps and, for r > 0, one step
// that reads 4 - r bytes too many (they meet zero weights), or none too many if Careful.
template <class Machine, int Rows, int Vectors, bool Careful>
FXQUANT_INLINE void accumulate(typename Machine::Acc (&acc)[Rows][Vectors], const InputRows& a, const Taps& taps,
                               const uint8_t* weights, Ahead ahead) {
  const auto step = [&](const MovingRows<Rows>& row, const auto& load) FXQUANT_UNROLLED {
    multiply_step<Machine>(acc, row, weights, load);
    weights += Vectors * Machine::kStepBytes;
    fetch(ahead);
  };
  const int64_t steps = Careful ? taps.bytes / 4 : (taps.bytes + 3) / 4;
  for (int64_t i = 0; i < taps.h; ++i) {
    for (int64_t j = 0; j < taps.w; ++j) {
      MovingRows<Rows> row(a, i * taps.stride_h + j * taps.stride_w);
      for (int64_t left = steps; left > 0; --left, row.advance(4)) step(row, load_step);
      if (Careful && steps * 4 < taps.bytes) {
        step(row, [&](const uint8_t* p) FXQUANT_UNROLLED { return load_rest(p, taps.bytes - steps * 4); });
      }
    }
  }
}

// The same for weights packed as `spread`: kSpreadInputs bytes of a tap in `Steps` steps.
template <class Machine, int Rows, int Steps>
FXQUANT_INLINE void accumulate_spread(typename Machine::Acc (&acc)[Rows][1], const InputRows& a, const Taps& taps,
                                      const uint8_t* weights, Ahead ahead) {
  for (int64_t i = 0; i < taps.h; ++i) {
    for (int64_t j = 0; j < taps.w; ++j, weights += Steps * Machine::kStepBytes) {
      const MovingRows<Rows> row(a, i * taps.stride_h + j * taps.stride_w);
      typename Machine::Weights b[Steps];
      unroll<Steps>([&](auto s) FXQUANT_UNROLLED { b[s] = Machine::weights(weights + s * Machine::kStepBytes); });
      unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
        unroll<Steps>([&](auto s) FXQUANT_UNROLLED {
          acc[m][0] = Machine::dot(acc[m][0], Machine::template spread<Steps, s>(row[m]), b[s]);
        });
      });
      fetch(ahead);
    }
  }
}

// The same for few rows and `Panels` panels, `panel_bytes` apart: memory brings several streams faster than one. Of
// few sums the accumulators would wait for their own last products: each of kChains has every kChains-th step. A
// stream ends at each page for a CPU that reads ahead by itself, so a part of its lines is fetched from far ahead.
template <class Machine, int Rows, int Panels, int Vectors>
FXQUANT_INLINE void accumulate_few(typename Machine::Acc (*acc)[Rows][Vectors], const InputRows& a, const Taps& taps,
                                   const uint8_t* weights, int64_t panel_bytes) {
  constexpr int kSteps = 4, kChains = kSteps / Panels, kFar = 4096;
  typename Machine::Acc chain[kChains][Panels][Rows][Vectors];
  const auto vectors = [](const auto& body) FXQUANT_UNROLLED {
    unroll<Panels>([&](auto p) FXQUANT_UNROLLED { unroll<Vectors>([&](auto v) FXQUANT_UNROLLED { body(p, v); }); });
  };
  const auto sums = [&](const auto& body) FXQUANT_UNROLLED {
    vectors([&](auto p, auto v) FXQUANT_UNROLLED { unroll<Rows>([&](auto m) FXQUANT_UNROLLED { body(p, m, v); }); });
  };
  sums([&](auto p, auto m, auto v) FXQUANT_UNROLLED {
    chain[0][p][m][v] = acc[p][m][v];
    unroll<kChains - 1>([&](auto c) FXQUANT_UNROLLED { chain[c + 1][p][m][v] = Machine::zero(); });
  });
  const auto step = [&](auto c, const uint8_t* row) FXQUANT_UNROLLED {
    typename Machine::Activations x[Rows];
    unroll<Rows>([&](auto m) FXQUANT_UNROLLED { x[m] = Machine::broadcast(load_step(row + m * a.step)); });
    vectors([&](auto p, auto v) FXQUANT_UNROLLED {
      const auto b = Machine::weights(weights + p * panel_bytes + v * Machine::kStepBytes);
      unroll<Rows>([&](auto m) FXQUANT_UNROLLED { chain[c][p][m][v] = Machine::dot(chain[c][p][m][v], x[m], b); });
    });
    weights += Vectors * Machine::kStepBytes;
  };
  for (int64_t i = 0; i < taps.h; ++i) {
    for (int64_t j = 0; j < taps.w; ++j) {
      const uint8_t* row = a[0] + i * taps.stride_h + j * taps.stride_w;
      int64_t left = (taps.bytes + 3) / 4;
      for (; left >= kSteps; left -= kSteps, row += 4 * kSteps) {
        unroll<Panels>([&](auto p) FXQUANT_UNROLLED { __builtin_prefetch(weights + p * panel_bytes + kFar, 0, 2); });
        unroll<kSteps>([&](auto s) FXQUANT_UNROLLED { step(Index<s % kChains>{}, row + 4 * s); });
      }
      for (; left > 0; --left, row += 4) step(Index<0>{}, row);
    }
  }
  sums([&](auto p, auto m, auto v) FXQUANT_UNROLLED {
    unroll<kChains - 1>(
        [&](auto c) FXQUANT_UNROLLED { chain[0][p][m][v] = Machine::add(chain[0][p][m][v], chain[c + 1][p][m][v]); });
    acc[p][m][v] = chain[0][p][m][v];
  });
}

// How a Machine runs over k. One whose registers hold more than a step of a row specializes it.
template <class Machine>
struct Accumulate {
  template <int Rows, int Vectors, bool Careful>
  static FXQUANT_INLINE void run(typename Machine::Acc (&acc)[Rows][Vectors], const InputRows& a, const Taps& taps,
                                 const uint8_t* weights, Ahead ahead) {
    if constexpr (Rows == 1 && !Careful && Machine::kAdds) {
      accumulate_few<Machine, 1, 1, Vectors>(&acc, a, taps, weights, 0);
    } else {
      accumulate<Machine, Rows, Vectors, Careful>(acc, a, taps, weights, ahead);
    }
  }
};

FXQUANT_INLINE RowTerms terms_of(const RowRun& rows, int row) {
  RowTerms terms = {0, 1.0F};
  if (rows.residual) __builtin_memcpy(&terms, rows.residual + row * rows.residual_step, sizeof terms);
  return terms;
}

// Writes a row of float outputs of which some columns do not exist, or lie apart.
template <class Machine, int Vectors>
__attribute__((noinline)) void store_some_floats(const typename Machine::Acc (&acc)[Vectors], uint8_t* y,
                                                 const Panel& panel, float scale) {
  for (int v = 0; v < Vectors; ++v) {
    alignas(64) float values[Machine::kLanes];
    Machine::store_floats(acc[v], v, panel, scale, values);
    const int64_t column = v * Machine::kLanes, left = panel.columns - column;
    uint8_t* to = y + panel.float_step * (panel.column + column);
    for (int i = 0; i < Machine::kLanes && i < left; ++i) __builtin_memcpy(to + panel.float_step * i, values + i, 4);
  }
}

// Writes a row of float outputs, in natural order (see pack.h), all columns of the panel.
template <class Machine, int Vectors>
FXQUANT_INLINE void store_row_of_floats(const typename Machine::Acc (&acc)[Vectors], uint8_t* y, const Panel& panel,
                                        float scale) {
  unroll<Vectors>([&](auto v) FXQUANT_UNROLLED {
    float* to = reinterpret_cast<float*>(y + 4 * (panel.column + v * Machine::kLanes));
    Machine::store_floats(acc[v], v, panel, scale, to);
  });
}

// Writes a tile of float outputs.
template <class Machine, int Rows, int Vectors>
FXQUANT_INLINE void finish_floats(const typename Machine::Acc (&acc)[Rows][Vectors], const RowRun& rows,
                                  const Panel& panel) {
  uint8_t* y = rows.y;
  unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
    const float scale = terms_of(rows, m).scale;
    if (panel.whole_floats) {
      store_row_of_floats<Machine, Vectors>(acc[m], y, panel, scale);
    } else {
      typename Machine::Acc row[Vectors];  // a copy: `acc` itself would have to lie in memory, for all stores
      unroll<Vectors>([&](auto v) FXQUANT_UNROLLED { row[v] = acc[m][v]; });
      store_some_floats<Machine, Vectors>(row, y, panel, scale);
    }
    y += rows.y_step;
  });
}

// Requantizes and writes the first Rows rows, and moves on to those behind them.
template <class Machine, int Rows, int Vectors, bool HasResidual, Finish How>
FXQUANT_INLINE void store_byte_rows(const typename Machine::Acc (*acc)[Vectors], RowRun& rows, const Panel& panel) {
  uint8_t* to[Rows];
  const uint8_t* added[Rows];
  unroll<Rows>([&](auto i) FXQUANT_UNROLLED { added[i] = rows.residual + i * rows.residual_step; });
  if constexpr (HasResidual) {  // such runs have no gaps
    unroll<Rows>([&](auto i) FXQUANT_UNROLLED { to[i] = rows.y + i * rows.y_step; });
    rows.y += Rows * rows.y_step;
  } else {
    rows.take_outputs(to);
  }
  Machine::template store<Rows, Vectors, HasResidual, How>(acc, to, added, panel);
  rows.y = opaque(rows.y);
  if constexpr (HasResidual) rows.residual = opaque(rows.residual + Rows * rows.residual_step);
}

// The same, but for the requantizing.
template <class Machine, int Rows, int Vectors>
FXQUANT_INLINE void store_float_rows(const typename Machine::Acc (*acc)[Vectors], RowRun& rows, const Panel& panel) {
  unroll<Rows>([&](auto i) FXQUANT_UNROLLED {
    store_row_of_floats<Machine, Vectors>(acc[i], rows.y, panel, terms_of(rows, 0).scale);
    rows.y = opaque(rows.y + rows.y_step);
    rows.residual = opaque(rows.residual + rows.residual_step);
  });
}

template <class Machine, int Rows, int Vectors, bool HasResidual, Finish How>
FXQUANT_INLINE void store_rows(const typename Machine::Acc (*acc)[Vectors], RowRun& rows, const Panel& panel) {
  if constexpr (How == Finish::floats) {
    store_float_rows<Machine, Rows, Vectors>(acc, rows, panel);
  } else {
    store_byte_rows<Machine, Rows, Vectors, HasResidual, How>(acc, rows, panel);
  }
}

// Requantizes and writes a tile.
template <class Machine, int Rows, int Vectors, bool HasResidual, Finish How>
FXQUANT_INLINE void finish(const typename Machine::Acc (&acc)[Rows][Vectors], const RowRun& shared_rows,
                           const Panel& panel) {
  constexpr int kTogether = Machine::template kStoredRows<Vectors>, kRest = Rows % kTogether;
  RowRun rows = shared_rows;
  unroll<Rows / kTogether>([&](auto i) FXQUANT_UNROLLED {
    store_rows<Machine, kTogether, Vectors, HasResidual, How>(&acc[kTogether * i], rows, panel);
  });
  if constexpr (kRest > 0) store_rows<Machine, kRest, Vectors, HasResidual, How>(&acc[Rows - kRest], rows, panel);
}

// The same for accumulators that need no care, in the cheapest way that the panel allows.
template <class Machine, int Rows, int Vectors>
FXQUANT_INLINE void store_tile(const typename Machine::Acc (&acc)[Rows][Vectors], const RowRun& rows,
                               const Panel& panel) {
  const auto store = [&](auto how) FXQUANT_UNROLLED {
    constexpr Finish kHow = static_cast<Finish>(static_cast<int>(how));
    if (rows.residual) {
      finish<Machine, Rows, Vectors, true, kHow>(acc, rows, panel);
    } else {
      finish<Machine, Rows, Vectors, false, kHow>(acc, rows, panel);
    }
  };
  if (Vectors == Machine::kVectors && panel.plain) {
    store(Index<static_cast<int>(Finish::plain)>{});
  } else {
    store(Index<static_cast<int>(Finish::any)>{});
  }
}

template <class Machine, int Rows, int Vectors>
FXQUANT_INLINE void load_bias(typename Machine::Acc (&acc)[Rows][Vectors], const int32_t* bias) {
  unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
    unroll<Vectors>([&](auto v) FXQUANT_UNROLLED { acc[m][v] = Machine::load(bias + v * Machine::kLanes); });
  });
}

// What zero points of the rows from `first` on take away: sums of weights, times (activation_offset - zero_point).
template <class Machine, int Rows, int Vectors>
FXQUANT_INLINE void load_zero_points(typename Machine::Acc (&acc)[Rows][Vectors], const RowRun& rows, int first,
                                     const Panel& panel) {
  unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
    const int32_t factor = panel.offset - terms_of(rows, first + m).zero_point;
    unroll<Vectors>([&](auto v)
                        FXQUANT_UNROLLED { acc[m][v] = Machine::times(panel.bias + v * Machine::kLanes, factor); });
  });
}

// What a tile of the rows from `first` on begins with.
template <class Machine, bool MayGiveFloats, int Rows, int Vectors>
FXQUANT_INLINE void begin_tile(typename Machine::Acc (&acc)[Rows][Vectors], const RowRun& rows, int first,
                               const Panel& panel) {
  if (MayGiveFloats && panel.dynamic) return load_zero_points<Machine>(acc, rows, first, panel);
  load_bias<Machine>(acc, panel.bias);
}

// One tile: the first Rows rows, times one panel.
template <class Machine, int Rows, int Vectors, int SpreadSteps, bool HasResidual, Finish How>
FXQUANT_INLINE void multiply_tile(const RowRun& rows, const Taps& taps, const Panel& shared_panel, const Ahead& ahead) {
  constexpr bool kMayGiveFloats = How != Finish::plain && !HasResidual;
  typename Machine::Acc acc[Rows][Vectors];
  begin_tile<Machine, kMayGiveFloats>(acc, rows, 0, shared_panel);
  const InputRows a = {rows.a + shared_panel.a_offset, rows.a_step};
  if constexpr (SpreadSteps > 0) {
    accumulate_spread<Machine, Rows, SpreadSteps>(acc, a, taps, shared_panel.weights, ahead);
  } else {
    constexpr bool kCareful = How == Finish::careful;
    Accumulate<Machine>::template run<Rows, Vectors, kCareful>(acc, a, taps, shared_panel.weights, ahead);
  }
  const Panel panel = shared_panel;  // a copy: for all the compiler knows, stores of bytes could change the original
  if constexpr (kMayGiveFloats) {
    if (panel.float_bias) return finish_floats<Machine, Rows, Vectors>(acc, rows, panel);
  }
  finish<Machine, Rows, Vectors, HasResidual, How>(acc, rows, panel);
}

// All rows, in tiles of Rows of them, times one panel.
template <class Machine, int Rows, int Vectors, int SpreadSteps, bool HasResidual, Finish How>
void multiply_tiles(RowRun rows, const Taps& taps, const Panel& panel, Ahead ahead) {
  for (; rows.count >= Rows; rows = rows.from(Rows)) {
    multiply_tile<Machine, Rows, Vectors, SpreadSteps, HasResidual, How>(rows, taps, panel, ahead);
    ahead.at += ahead.tile;
  }
}

// The first Rows rows, times `Panels` panels of a group, `panel_bytes` apart.
template <class Machine, int Rows, int Panels, int Vectors>
void multiply_few(const RowRun& rows, const Taps& taps, const Panel* panels, int64_t panel_bytes) {
  typename Machine::Acc acc[Panels][Rows][Vectors];
  for (int p = 0; p < Panels; ++p) begin_tile<Machine, true>(acc[p], rows, 0, panels[p]);
  const InputRows a = {rows.a + panels[0].a_offset, rows.a_step};
  accumulate_few<Machine, Rows, Panels, Vectors>(acc, a, taps, panels[0].weights, panel_bytes);
  for (int p = 0; p < Panels; ++p) {
    if (panels[p].float_bias) {
      finish_floats<Machine, Rows, Vectors>(acc[p], rows, panels[p]);
    } else {
      store_tile<Machine, Rows, Vectors>(acc[p], rows, panels[p]);
    }
  }
}

template <class Machine>
using MultiplyTiles = void (*)(RowRun, const Taps&, const Panel&, Ahead);

// The size of tiles of at most `most` rows that are as even as possible.
inline int64_t even_tile(int64_t rows, int64_t most) {
  const int64_t tiles = (rows + most - 1) / most;
  return tiles < 1 ? 1 : (rows + tiles - 1) / tiles;
}

// Whichever has tiles of `rows` rows.
template <class Machine, int Vectors, int SpreadSteps, bool HasResidual, Finish How, int... Rows>
MultiplyTiles<Machine> tiles_of_rows(int64_t rows, std::integer_sequence<int, Rows...>) {
  static constexpr MultiplyTiles<Machine> tiles[] = {
      multiply_tiles<Machine, Rows + 1, Vectors, SpreadSteps, HasResidual, How>...};
  return tiles[rows - 1];
}

template <class Machine, int Vectors, int SpreadSteps, bool HasResidual>
MultiplyTiles<Machine> tiles_of(int64_t rows, bool plain) {
  const auto all_rows = std::make_integer_sequence<int, Machine::kRows>{};
  if constexpr (Vectors == Machine::kVectors) {
    if (plain) return tiles_of_rows<Machine, Vectors, SpreadSteps, HasResidual, Finish::plain>(rows, all_rows);
  }
  return tiles_of_rows<Machine, Vectors, SpreadSteps, HasResidual, Finish::any>(rows, all_rows);
}

}  // namespace
}  // namespace fxquant
