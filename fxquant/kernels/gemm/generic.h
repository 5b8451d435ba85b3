// The loops of the product, written once for all ISAs.
//
// A Machine is an ISA's instruction table:
//   kRows, kLanes, kVectors                its row of kernels.inc
//   Acc, Activations, Weights              kLanes accumulators; four bytes of a row, broadcast; one step of weights
//   Acc load(const int32_t*)               kLanes consecutive int32
//   Activations broadcast(uint32_t)        the same four bytes for every lane
//   Weights weights(const uint8_t*)        kStepBytes of packed weights
//   Acc dot(Acc, Activations, Weights)     acc[lane] += sum of 4 u8 * s8, exact
//   store<Rows, Vectors, HasResidual, Finish>(...)     requantizes and writes one or two rows
//   store_floats(Acc, int v, const Panel&, float*)     to_float of vector v of a panel, kLanes of them as they lie
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

#define FXQUANT_INLINE inline __attribute__((always_inline))

namespace fxquant {
namespace {

// What the stores of a panel have to see to. plain: every column of the panel exists, there is no table, and the bounds
// are those of a byte, so that packing saturates as they would. careful: what any may, for values beyond int32.
enum class Finish { plain, any, careful };

// Output rows that follow each other at one distance, and so do their inputs and residuals.
struct RowRun {
  const uint8_t *a, *residual;  // residual: or null, then with step 0
  uint8_t* y;
  int64_t a_step, residual_step, y_step, count;

  FXQUANT_INLINE RowRun from(int64_t row) const {
    return {a + row * a_step, residual + row * residual_step, y + row * y_step, a_step, residual_step, y_step,
            count - row};
  }
  FXQUANT_INLINE RowRun first(int64_t rows) const { return {a, residual, y, a_step, residual_step, y_step, rows}; }
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
  const int32_t* bias;
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
  bool plain;            // all of Finish::plain holds
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

// acc[row][vector] += the product over all taps. A tap of 4 * j + r bytes takes j full steps and, for r > 0, one step
// that reads 4 - r bytes too many (they meet zero weights), or none too many if Careful.
template <class Machine, int Rows, int Vectors, bool Careful>
FXQUANT_INLINE void accumulate(typename Machine::Acc (&acc)[Rows][Vectors], const InputRows& a, const Taps& taps,
                               const uint8_t* weights, Ahead ahead) {
  const auto step = [&](const MovingRows<Rows>& row, const auto& load) FXQUANT_UNROLLED {
    typename Machine::Weights b[Vectors];
    unroll<Vectors>([&](auto v) FXQUANT_UNROLLED { b[v] = Machine::weights(weights + v * Machine::kStepBytes); });
    unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
      const auto x = Machine::broadcast(load(row[m]));
      unroll<Vectors>([&](auto v) FXQUANT_UNROLLED { acc[m][v] = Machine::dot(acc[m][v], x, b[v]); });
    });
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

// How a Machine runs over k. One whose registers hold more than a step of a row specializes it.
template <class Machine>
struct Accumulate {
  template <int Rows, int Vectors, bool Careful>
  static FXQUANT_INLINE void run(typename Machine::Acc (&acc)[Rows][Vectors], const InputRows& a, const Taps& taps,
                                 const uint8_t* weights, Ahead ahead) {
    accumulate<Machine, Rows, Vectors, Careful>(acc, a, taps, weights, ahead);
  }
};

// Writes a row of float outputs. Four columns that follow each other lie so in a vector too, see pack.h.
template <class Machine, int Vectors>
__attribute__((noinline)) void store_float_row(const typename Machine::Acc (&acc)[Vectors], uint8_t* y,
                                               const Panel& panel) {
  for (int v = 0; v < Vectors; ++v) {
    alignas(64) float values[Machine::kLanes];
    Machine::store_floats(acc[v], v, panel, values);
    for (int quad = 0; quad < Machine::kLanes / 4; ++quad) {
      const int64_t column = Vectors == 2 ? 8 * quad + 4 * v : 4 * quad, left = panel.columns - column;
      uint8_t* to = y + panel.float_step * (panel.column + column);
      if (left >= 4 && panel.float_step == 4) {
        __builtin_memcpy(to, values + 4 * quad, 16);
      } else {
        for (int i = 0; i < 4 && i < left; ++i) __builtin_memcpy(to + panel.float_step * i, values + 4 * quad + i, 4);
      }
    }
  }
}

// Writes a tile of float outputs.
template <class Machine, int Rows, int Vectors>
FXQUANT_INLINE void finish_floats(const typename Machine::Acc (&acc)[Rows][Vectors], const RowRun& rows,
                                  const Panel& panel) {
  uint8_t* y = rows.y;
  unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
    typename Machine::Acc row[Vectors];  // a copy: `acc` itself would have to lie in memory, for all stores
    unroll<Vectors>([&](auto v) FXQUANT_UNROLLED { row[v] = acc[m][v]; });
    store_float_row<Machine, Vectors>(row, y, panel);
    y += rows.y_step;
  });
}

// Requantizes and writes a tile, two rows at a time.
template <class Machine, int Rows, int Vectors, bool HasResidual, Finish How>
FXQUANT_INLINE void finish(const typename Machine::Acc (&acc)[Rows][Vectors], const RowRun& shared_rows,
                           const Panel& panel) {
  const RowRun rows = shared_rows;
  uint8_t* y = rows.y;
  const uint8_t* residual = rows.residual;
  unroll<Rows / 2>([&](auto i) FXQUANT_UNROLLED {
    uint8_t* const to[] = {y, y + rows.y_step};
    const uint8_t* const added[] = {residual, residual + rows.residual_step};
    Machine::template store<2, Vectors, HasResidual, How>(&acc[2 * i], to, added, panel);
    y = opaque(y + 2 * rows.y_step);
    if constexpr (HasResidual) residual = opaque(residual + 2 * rows.residual_step);
  });
  if constexpr (Rows % 2 == 1) {
    Machine::template store<1, Vectors, HasResidual, How>(&acc[Rows - 1], &y, &residual, panel);
  }
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

// One tile: the first Rows rows, times one panel.
template <class Machine, int Rows, int Vectors, int SpreadSteps, bool HasResidual, Finish How>
FXQUANT_INLINE void multiply_tile(const RowRun& rows, const Taps& taps, const Panel& shared_panel, const Ahead& ahead) {
  typename Machine::Acc acc[Rows][Vectors];
  unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
    unroll<Vectors>([&](auto v)
                        FXQUANT_UNROLLED { acc[m][v] = Machine::load(shared_panel.bias + v * Machine::kLanes); });
  });
  const InputRows a = {rows.a + shared_panel.a_offset, rows.a_step};
  if constexpr (SpreadSteps > 0) {
    accumulate_spread<Machine, Rows, SpreadSteps>(acc, a, taps, shared_panel.weights, ahead);
  } else {
    constexpr bool kCareful = How == Finish::careful;
    Accumulate<Machine>::template run<Rows, Vectors, kCareful>(acc, a, taps, shared_panel.weights, ahead);
  }
  const Panel panel = shared_panel;  // a copy: for all the compiler knows, stores of bytes could change the original
  if constexpr (How != Finish::plain && !HasResidual) {
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

template <class Machine>
using MultiplyTiles = void (*)(RowRun, const Taps&, const Panel&, Ahead);

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

// Of `rows` the first `whole` in tiles of `tile`, and what is left in a smaller one. A careful tile reads no byte
// behind a tap, and its store takes values beyond int32: the other rows. They are few, so their tiles have one row.
template <class Machine, int Vectors, int SpreadSteps, bool HasResidual>
void multiply(const RowRun& rows, int64_t whole, int64_t tile, const Taps& taps, const Panel& panel,
              const Ahead& ahead) {
  const int64_t rest = whole % tile, even = whole - rest;
  const auto tiles = [&](int64_t size) {
    return tiles_of<Machine, Vectors, SpreadSteps, HasResidual>(size, panel.plain);
  };
  if (even > 0) tiles(tile)(rows.first(even), taps, panel, ahead);
  if (rest > 0) tiles(rest)(rows.first(whole).from(even), taps, panel, ahead);
  if (whole == rows.count) return;
  multiply_tiles<Machine, 1, Vectors, SpreadSteps, HasResidual, Finish::careful>(rows.from(whole), taps, panel, ahead);
}

// The weights that come after those being multiplied: the rest of this product's, then the next one's. At batch 1 the
// weights of a network do not stay in the L2 cache from one run to the next, so tiles fetch them, all at one pace.
class Upcoming {
 public:
  // Over `rows` rows times panels.
  Upcoming(Span own, Span next, int64_t rows)
      : now_(own), next_(next), per_row_((own.bytes + next.bytes + rows - 1) / rows) {}
  // For so many tiles of so many rows times one panel, each in `steps` steps.
  Ahead take(int64_t tiles, int64_t rows, int64_t steps) {
    if (now_.bytes <= 0) {
      now_ = next_;
      next_ = {};
    }
    if (now_.bytes <= 0) return {reinterpret_cast<const uint8_t*>(this), 0, 0};  // where a fetch costs nothing
    const int64_t even = (per_row_ * rows + steps - 1) / steps, step = even < kLine ? even : kLine;
    const Ahead ahead = {now_.data, step, step * steps};
    now_.data += tiles * ahead.tile;
    now_.bytes -= tiles * ahead.tile;
    return ahead;
  }

 private:
  static constexpr int64_t kLine = 64;
  Span now_, next_;
  int64_t per_row_;
};

template <class T>
Nhwc<T> turned(const Nhwc<T>& v) {
  return {v.data, v.n, v.w, v.h, v.c, v.stride_n, v.stride_w, v.stride_h};
}

// The same product with longer rows of the grid: one for all where the rows of all three views follow each other at one
// distance, and a column as a row.
inline Product flattened(Product p) {
  if (p.y.w == 1) {
    p.a = turned(p.a);
    p.y = turned(p.y);
    p.residual = turned(p.residual);
  }
  const auto even = [](const auto& view) {
    return !view.data || ((view.h == 1 || view.stride_h == view.w * view.stride_w) &&
                          (view.n == 1 || view.stride_n == view.h * view.w * view.stride_w));
  };
  if (!even(p.a) || !even(p.y) || !even(p.residual)) return p;
  p.y.w *= p.y.h * p.y.n;
  p.y.h = p.y.n = 1;
  return p;
}

// Walks the grid of output rows in order.
class RowCursor {
 public:
  RowCursor(const Product& p, int64_t row) : p_(p) {
    w_ = row % p.y.w;
    h_ = row / p.y.w % p.y.h;
    n_ = row / p.y.w / p.y.h;
    seek();
  }
  // The next rows up to the end of a row of the grid, at most `limit`.
  RowRun take(int64_t limit) {
    const int64_t left = p_.y.w - w_, count = left < limit ? left : limit;
    const RowRun run = {a_, residual_, y_, p_.a.stride_w, residual_ ? p_.residual.stride_w : 0, p_.y.stride_w, count};
    skip(count);
    return run;
  }

 private:
  // `count` rows further, at most to the end of a row of the grid.
  void skip(int64_t count) {
    w_ += count;
    if (w_ < p_.y.w) {
      a_ += count * p_.a.stride_w;
      y_ += count * p_.y.stride_w;
      if (residual_) residual_ += count * p_.residual.stride_w;
      return;
    }
    w_ = 0;
    if (++h_ == p_.y.h) {
      h_ = 0;
      ++n_;
    }
    seek();
  }
  template <class T>
  static T* at(const Nhwc<T>& view, int64_t n, int64_t h, int64_t w) {
    return view.data ? view.data + n * view.stride_n + h * view.stride_h + w * view.stride_w : nullptr;
  }
  void seek() {
    a_ = at(p_.a, n_, h_, w_);
    y_ = at(p_.y, n_, h_, w_);
    residual_ = at(p_.residual, n_, h_, w_);
  }

  const Product& p_;
  int64_t n_, h_, w_;
  const uint8_t *a_, *residual_;
  uint8_t* y_;
};

template <class Machine>
class Run {
 public:
  Run(const Product& product, const RunPart& part)
      : p_(flattened(product)),
        part_(part),
        header_(*product.packed),
        panels_(panels_of(header_)),
        together_(panels_together()),
        upcoming_(own_panels(), share_of_next(), rows() * (part.panel_end - part.panel_begin)) {}

  // Panels that fit in L1 together are swept by each block of rows; larger ones in pairs, each pair by all rows, so
  // that whole cache lines are written and every weight is read from afar once.
  void operator()() {
    for (int64_t panel = part_.panel_begin; panel < part_.panel_end; panel += together_) {
      const int64_t end = panel + together_ < part_.panel_end ? panel + together_ : part_.panel_end;
      sweep_rows(panel, end);
    }
  }

 private:
  static constexpr int64_t kCachedWeights = 24 * 1024, kTogether = 32;
  // A block's inputs stay in L1 from one panel to the next; a call for a block and a panel costs as much as some tiles.
  static constexpr int64_t kCachedRows = 12 * 1024, kTilesOfBlock = 8;

  int64_t rows() const { return part_.row_end - part_.row_begin; }
  int64_t panels_together() const {
    const int64_t all = part_.panel_end - part_.panel_begin;
    return all * panels_.bytes <= kCachedWeights && all <= kTogether ? all : 2;
  }
  const uint8_t* panel_data(int64_t index) const {
    return header_.panels() + index / panels_.per_group * panels_.group_bytes +
           index % panels_.per_group * panels_.bytes;
  }
  // The panels of this part, but for those that come first.
  Span own_panels() const {
    const uint8_t* begin = panel_data(part_.panel_begin + together_);
    return {begin, panel_data(part_.panel_end) - begin};
  }
  // Of the next product's weights the share that this part has of the present one, since the threads split it alike.
  Span share_of_next() const {
    const int64_t panels = panels_.per_group * header_.packed_groups, all = p_.y.n * p_.y.h * p_.y.w * panels;
    const int64_t begin = part_.row_begin * panels + part_.panel_begin * rows();
    const int64_t mine = rows() * (part_.panel_end - part_.panel_begin);
    return {p_.next.data + p_.next.bytes * begin / all, p_.next.bytes * mine / all};
  }

  // Rows of the grid in tiles as even as possible, these in blocks.
  void sweep_rows(int64_t panel_begin, int64_t panel_end) {
    Panel panels[kTogether];
    for (int64_t i = panel_begin; i < panel_end; ++i) panels[i - panel_begin] = panel_at(i);
    RowCursor cursor(p_, part_.row_begin);
    for (int64_t left = rows(); left > 0;) {
      const RowRun run = cursor.take(left);
      left -= run.count;
      const int64_t tiles = (run.count + Machine::kRows - 1) / Machine::kRows, tile = (run.count + tiles - 1) / tiles;
      const int64_t block = tile * tiles_of_block(tile);
      for (int64_t row = 0; row < run.count; row += block) {
        const RowRun rows = run.from(row).first(run.count - row < block ? run.count - row : block);
        for (int64_t i = 0; i < panel_end - panel_begin; ++i) multiply_panel(rows, tile, panels[i]);
      }
    }
  }
  int64_t tiles_of_block(int64_t tile) const {
    const int64_t cached = kCachedRows / (tile * p_.taps.h * p_.taps.w * p_.taps.bytes);
    return cached < 1 ? 1 : cached < kTilesOfBlock ? cached : kTilesOfBlock;
  }

  Panel panel_at(int64_t index) const {
    const int64_t group = index / panels_.per_group, at = index % panels_.per_group;
    const int64_t first = at * panels_.layout.columns(), rest = panels_.group_outputs - first;
    const uint8_t* packed = panel_data(index);
    Panel panel = panel_of<Machine>(header_, packed, panels_.vectors(at), rest);
    panel.half = panels_.half(at);
    panel.a_offset = group * header_.group_inputs;
    panel.column = group * panels_.group_outputs + first;
    panel.float_step = p_.y_stride_c;
    return panel;
  }

  void multiply_panel(const RowRun& rows, int64_t tile, const Panel& panel) {
    if constexpr (Machine::kSpreads) {
      if (panel.spread_steps == 1) return multiply_panel<Machine, 1, 1>(rows, tile, panel);
      if (panel.spread_steps == 2) return multiply_panel<Machine, 1, 2>(rows, tile, panel);
    }
    if constexpr (Machine::kHalves) {
      if (panel.half) return multiply_panel<typename Machine::Half, 1, 0>(rows, tile, panel);
    }
    if (panel.vectors == Machine::kVectors) {
      multiply_panel<Machine, Machine::kVectors, 0>(rows, tile, panel);
    } else {
      multiply_panel<Machine, 1, 0>(rows, tile, panel);
    }
  }

  template <class Of, int Vectors, int SpreadSteps>
  void multiply_panel(const RowRun& rows, int64_t tile, const Panel& panel) {
    const Ahead ahead = upcoming_.take((rows.count + tile - 1) / tile, tile, panels_.steps);
    const int64_t whole = header_.bounded ? rows_before_end(rows, panel.a_offset) : 0;
    if (rows.residual) {
      multiply<Of, Vectors, SpreadSteps, true>(rows, whole, tile, p_.taps, panel, ahead);
    } else {
      multiply<Of, Vectors, SpreadSteps, false>(rows, whole, tile, p_.taps, panel, ahead);
    }
  }

  // How many of the rows end in front of the input's end, even with a full last step of their last tap.
  int64_t rows_before_end(const RowRun& rows, int64_t a_offset) const {
    const Taps& taps = p_.taps;
    const int64_t step = panels_.layout.step(), tap = (taps.bytes + step - 1) / step * step;
    if (tap == taps.bytes) return rows.count;
    const int64_t last = (taps.h - 1) * taps.stride_h + (taps.w - 1) * taps.stride_w + tap;
    int64_t count = rows.count;
    while (count > 0 && p_.a_end - rows.from(count - 1).a < last + a_offset) --count;
    return count;
  }

  const Product p_;
  const RunPart& part_;
  const PackedHeader& header_;
  const Panels panels_;
  const int64_t together_;
  Upcoming upcoming_;
};

}  // namespace
}  // namespace fxquant
