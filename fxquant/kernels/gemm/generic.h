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

// Where the rows of one tile lie: input, output and residual.
template <int Rows>
struct TileRows {
  const uint8_t* a[Rows];
  const uint8_t* residual[Rows];
  uint8_t* y[Rows];
};

// One panel, and what the stores need to know.
struct Panel {
  const int32_t* bias;
  const float* multiplier;
  const uint8_t* weights;
  int64_t a_offset;  // of the panel's group
  int64_t column;    // first column of the output
  int64_t columns;   // how many of the panel's columns exist
  Requantize output;
  Residual residual;
  const uint8_t* table;  // or null
  bool plain;            // all of Finish::plain holds
  int vectors;
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
  panel.weights = packed + 8 * columns;
  panel.columns = rest < columns ? rest : columns;
  panel.output = header.output;
  panel.residual = header.residual;
  panel.table = header.has_table ? header.table() : nullptr;
  panel.spread_steps = header.spread / 4;
  panel.plain =
      panel.columns == columns && !panel.table && panel.output.quant_min == 0 && panel.output.quant_max == 255;
  return panel;
}

// What a tile fetches into the L2 cache while it computes: `step` bytes further with every step over k.
struct Ahead {
  const uint8_t* at;
  int64_t step;
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
FXQUANT_INLINE void accumulate(typename Machine::Acc (&acc)[Rows][Vectors], const uint8_t* const (&a)[Rows],
                               const Taps& taps, const uint8_t* weights, Ahead ahead) {
  const auto step = [&](const auto& load) FXQUANT_UNROLLED {
    typename Machine::Weights b[Vectors];
    unroll<Vectors>([&](auto v) FXQUANT_UNROLLED { b[v] = Machine::weights(weights + v * Machine::kStepBytes); });
    unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
      const auto x = Machine::broadcast(load(a[m]));
      unroll<Vectors>([&](auto v) FXQUANT_UNROLLED { acc[m][v] = Machine::dot(acc[m][v], x, b[v]); });
    });
    weights += Vectors * Machine::kStepBytes;
    fetch(ahead);
  };
  const int64_t whole = Careful ? taps.bytes / 4 * 4 : (taps.bytes + 3) / 4 * 4;
  for (int64_t i = 0; i < taps.h; ++i) {
    for (int64_t j = 0; j < taps.w; ++j) {
      const int64_t begin = i * taps.stride_h + j * taps.stride_w, end = begin + whole;
      for (int64_t k = begin; k < end; k += 4) {
        step([&](const uint8_t* row) FXQUANT_UNROLLED { return load_step(row + k); });
      }
      if (Careful && whole < taps.bytes) {
        step([&](const uint8_t* row) FXQUANT_UNROLLED { return load_rest(row + end, taps.bytes - whole); });
      }
    }
  }
}

// The same for weights packed as `spread`: kSpreadInputs bytes of a tap in `Steps` steps.
template <class Machine, int Rows, int Steps>
FXQUANT_INLINE void accumulate_spread(typename Machine::Acc (&acc)[Rows][1], const uint8_t* const (&a)[Rows],
                                      const Taps& taps, const uint8_t* weights, Ahead ahead) {
  for (int64_t i = 0; i < taps.h; ++i) {
    for (int64_t j = 0; j < taps.w; ++j, weights += Steps * Machine::kStepBytes) {
      const int64_t offset = i * taps.stride_h + j * taps.stride_w;
      typename Machine::Weights b[Steps];
      unroll<Steps>([&](auto s) FXQUANT_UNROLLED { b[s] = Machine::weights(weights + s * Machine::kStepBytes); });
      unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
        unroll<Steps>([&](auto s) FXQUANT_UNROLLED {
          acc[m][0] = Machine::dot(acc[m][0], Machine::template spread<Steps, s>(a[m] + offset), b[s]);
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
  static FXQUANT_INLINE void run(typename Machine::Acc (&acc)[Rows][Vectors], const uint8_t* const (&a)[Rows],
                                 const Taps& taps, const uint8_t* weights, Ahead ahead) {
    accumulate<Machine, Rows, Vectors, Careful>(acc, a, taps, weights, ahead);
  }
};

// Requantizes and writes a tile, two rows at a time.
template <class Machine, int Rows, int Vectors, bool HasResidual, Finish How>
FXQUANT_INLINE void finish(const typename Machine::Acc (&acc)[Rows][Vectors], uint8_t* const* y,
                           const uint8_t* const* residual, const Panel& panel) {
  unroll<Rows / 2>([&](auto i) FXQUANT_UNROLLED {
    constexpr int m = 2 * i;
    Machine::template store<2, Vectors, HasResidual, How>(&acc[m], y + m, residual + m, panel);
  });
  if constexpr (Rows % 2 == 1) {
    constexpr int m = Rows - 1;
    Machine::template store<1, Vectors, HasResidual, How>(&acc[m], y + m, residual + m, panel);
  }
}

// The same, in the cheapest way that the panel allows. `residual` holds null pointers where the layer has none.
template <class Machine, int Rows, int Vectors, bool Careful>
FXQUANT_INLINE void store_tile(const typename Machine::Acc (&acc)[Rows][Vectors], uint8_t* const* y,
                               const uint8_t* const* residual, const Panel& panel) {
  const auto store = [&](auto how) FXQUANT_UNROLLED {
    constexpr Finish kHow = static_cast<Finish>(static_cast<int>(how));
    if (residual[0]) {
      finish<Machine, Rows, Vectors, true, kHow>(acc, y, residual, panel);
    } else {
      finish<Machine, Rows, Vectors, false, kHow>(acc, y, residual, panel);
    }
  };
  if constexpr (Careful) {
    store(Index<static_cast<int>(Finish::careful)>{});
  } else if (Vectors == Machine::kVectors && panel.plain) {
    store(Index<static_cast<int>(Finish::plain)>{});
  } else {
    store(Index<static_cast<int>(Finish::any)>{});
  }
}

// One tile: Rows rows from `first` on, times one panel. A Careful one reads no byte behind a tap, and its store takes
// values beyond int32. Both are rare, so Careful tiles have one row.
template <class Machine, int Rows, int Vectors, bool Careful, int SpreadSteps>
void multiply_tile(const TileRows<Machine::kRows>& rows, int first, const Taps& taps, const Panel& shared_panel,
                   const Ahead& ahead) {
  typename Machine::Acc acc[Rows][Vectors];
  const uint8_t* a[Rows];
  unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
    a[m] = rows.a[first + m] + shared_panel.a_offset;
    unroll<Vectors>([&](auto v)
                        FXQUANT_UNROLLED { acc[m][v] = Machine::load(shared_panel.bias + v * Machine::kLanes); });
  });
  if constexpr (SpreadSteps > 0) {
    accumulate_spread<Machine, Rows, SpreadSteps>(acc, a, taps, shared_panel.weights, ahead);
  } else {
    Accumulate<Machine>::template run<Rows, Vectors, Careful>(acc, a, taps, shared_panel.weights, ahead);
  }
  const Panel panel = shared_panel;  // a copy: for all the compiler knows, stores of bytes could change the original
  store_tile<Machine, Rows, Vectors, Careful>(acc, rows.y + first, rows.residual + first, panel);
}

template <class Machine>
using MultiplyTile = void (*)(const TileRows<Machine::kRows>&, int, const Taps&, const Panel&, const Ahead&);

// Whichever tile has `rows` rows.
template <class Machine, int Vectors, int SpreadSteps, int... Rows>
MultiplyTile<Machine> tile_of_rows(int64_t rows, std::integer_sequence<int, Rows...>) {
  static constexpr MultiplyTile<Machine> tiles[] = {multiply_tile<Machine, Rows + 1, Vectors, false, SpreadSteps>...};
  return tiles[rows - 1];
}

template <class Machine, int Vectors, int SpreadSteps>
void multiply(const TileRows<Machine::kRows>& rows, int64_t count, bool careful, const Taps& taps, const Panel& panel,
              const Ahead& ahead) {
  if (!careful) {
    const auto all_rows = std::make_integer_sequence<int, Machine::kRows>{};
    tile_of_rows<Machine, Vectors, SpreadSteps>(count, all_rows)(rows, 0, taps, panel, ahead);
    return;
  }
  for (int m = 0; m < count; ++m) multiply_tile<Machine, 1, Vectors, true, SpreadSteps>(rows, m, taps, panel, ahead);
}

// The weights that come after those being multiplied: the rest of this product's, then the next one's. At batch 1 the
// weights of a network do not stay in the L2 cache from one run to the next, so tiles fetch them, all at one pace.
class Upcoming {
 public:
  // Over `calls` tiles of `steps` steps each.
  Upcoming(Span own, Span next, int64_t calls, int64_t steps) : now_(own), next_(next) {
    const int64_t even = (own.bytes + next.bytes + calls - 1) / calls, most = 64 * steps;
    pace_ = even < most ? even : most;
    step_ = (pace_ + steps - 1) / steps;
  }
  Ahead take() {
    if (now_.bytes <= 0) {
      now_ = next_;
      next_ = {};
    }
    if (now_.bytes <= 0) return {now_.data, 0};
    const Ahead ahead = {now_.data, step_};
    now_.data += pace_;
    now_.bytes -= pace_;
    return ahead;
  }

 private:
  Span now_, next_;
  int64_t pace_, step_;
};

// The same product with a grid of one row, where the rows of all three views follow each other at one distance.
inline Product flattened(Product p) {
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
  template <int Rows>
  void take(TileRows<Rows>& rows, int64_t count) {
    for (int64_t m = 0; m < count;) {
      const int64_t left = p_.y.w - w_, run = left < count - m ? left : count - m;
      for (int64_t i = 0; i < run; ++i) rows.a[m + i] = a_ + i * p_.a.stride_w;
      for (int64_t i = 0; i < run; ++i) rows.y[m + i] = y_ + i * p_.y.stride_w;
      const int64_t step = residual_ ? p_.residual.stride_w : 0;
      for (int64_t i = 0; i < run; ++i) rows.residual[m + i] = residual_ + i * step;
      skip(run);
      m += run;
    }
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
        tiles_((part.row_end - part.row_begin + Machine::kRows - 1) / Machine::kRows),
        together_(panels_together()),
        upcoming_(own_panels(), share_of_next(), tiles_ * (part.panel_end - part.panel_begin), panels_.steps) {}

  // Panels that fit in L1 together are swept by each tile; larger ones in pairs, each pair by all tiles, so that whole
  // cache lines are written and every weight is read from afar once.
  void operator()() {
    for (int64_t panel = part_.panel_begin; panel < part_.panel_end; panel += together_) {
      const int64_t end = panel + together_ < part_.panel_end ? panel + together_ : part_.panel_end;
      sweep_rows(panel, end);
    }
  }

 private:
  static constexpr int64_t kCachedWeights = 24 * 1024, kTogether = 32;

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
    const int64_t rows = p_.y.n * p_.y.h * p_.y.w, panels = panels_.per_group * header_.packed_groups;
    const int64_t all = rows * panels;
    const int64_t begin = part_.row_begin * panels + part_.panel_begin * (part_.row_end - part_.row_begin);
    const int64_t mine = (part_.row_end - part_.row_begin) * (part_.panel_end - part_.panel_begin);
    return {p_.next.data + p_.next.bytes * begin / all, p_.next.bytes * mine / all};
  }

  void sweep_rows(int64_t panel_begin, int64_t panel_end) {
    const int64_t count = part_.row_end - part_.row_begin;
    RowCursor cursor(p_, part_.row_begin);
    TileRows<Machine::kRows> rows;
    Panel panels[kTogether];
    for (int64_t i = panel_begin; i < panel_end; ++i) panels[i - panel_begin] = panel_at(i);
    for (int64_t t = 0; t < tiles_; ++t) {
      const int64_t size = count * (t + 1) / tiles_ - count * t / tiles_;
      cursor.take(rows, size);
      for (int64_t i = 0; i < panel_end - panel_begin; ++i) multiply_panel(rows, size, panels[i]);
    }
  }

  Panel panel_at(int64_t index) const {
    const int64_t group = index / panels_.per_group, at = index % panels_.per_group;
    const int64_t first = at * panels_.layout.columns(), rest = panels_.group_outputs - first;
    const uint8_t* packed = panel_data(index);
    Panel panel = panel_of<Machine>(header_, packed, panels_.vectors(at), rest);
    panel.a_offset = group * header_.group_inputs;
    panel.column = group * panels_.group_outputs + first;
    return panel;
  }

  void multiply_panel(const TileRows<Machine::kRows>& rows, int64_t count, const Panel& panel) {
    const Ahead ahead = upcoming_.take();
    const bool careful =
        !header_.bounded || (p_.taps.bytes % panels_.layout.step() != 0 && reads_past_end(rows, count, panel.a_offset));
    if constexpr (Machine::kSpreads) {
      if (panel.spread_steps == 1) return multiply<Machine, 1, 1>(rows, count, careful, p_.taps, panel, ahead);
      if (panel.spread_steps == 2) return multiply<Machine, 1, 2>(rows, count, careful, p_.taps, panel, ahead);
    }
    if (panel.vectors == Machine::kVectors) {
      multiply<Machine, Machine::kVectors, 0>(rows, count, careful, p_.taps, panel, ahead);
    } else {
      multiply<Machine, 1, 0>(rows, count, careful, p_.taps, panel, ahead);
    }
  }

  // Whether a full last step of some row's last tap would end behind the input.
  bool reads_past_end(const TileRows<Machine::kRows>& rows, int64_t count, int64_t a_offset) const {
    const Taps& taps = p_.taps;
    const int64_t step = panels_.layout.step(), tap = (taps.bytes + step - 1) / step * step;
    const int64_t last = (taps.h - 1) * taps.stride_h + (taps.w - 1) * taps.stride_w + tap;
    for (int64_t m = 0; m < count; ++m) {
      if (p_.a_end - rows.a[m] < last + a_offset) return true;
    }
    return false;
  }

  const Product p_;
  const RunPart& part_;
  const PackedHeader& header_;
  const Panels panels_;
  const int64_t tiles_, together_;
  Upcoming upcoming_;
};

}  // namespace
}  // namespace fxquant
