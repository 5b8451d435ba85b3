// The loops of the product, written once for all ISAs.
//
// A Machine is an ISA's instruction table:
//   kRows, kLanes, kVectors                its row of kernels.inc
//   Acc, Activations, Weights              kLanes accumulators; four bytes of a row, broadcast; one step of weights
//   Acc load(const int32_t*)               kLanes consecutive int32
//   Activations broadcast(uint32_t)        the same four bytes for every lane
//   Weights weights(const uint8_t*)        kStepBytes of packed weights
//   Acc dot(Acc, Activations, Weights)     acc[lane] += sum of 4 u8 * s8, exact
//   store<Rows, Vectors, HasResidual, Careful>(...)    requantizes and writes one or two rows
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
  int spread_steps;      // of a tap; 0: not spread
};

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
                               const Taps& taps, const uint8_t* weights) {
  const auto step = [&](const auto& load) FXQUANT_UNROLLED {
    typename Machine::Weights b[Vectors];
    unroll<Vectors>([&](auto v) FXQUANT_UNROLLED { b[v] = Machine::weights(weights + v * Machine::kStepBytes); });
    unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
      const auto x = Machine::broadcast(load(a[m]));
      unroll<Vectors>([&](auto v) FXQUANT_UNROLLED { acc[m][v] = Machine::dot(acc[m][v], x, b[v]); });
    });
    weights += Vectors * Machine::kStepBytes;
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
                                      const Taps& taps, const uint8_t* weights) {
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
    }
  }
}

// Requantizes and writes a tile, two rows at a time.
template <class Machine, int Rows, int Vectors, bool HasResidual, bool Careful>
FXQUANT_INLINE void finish(const typename Machine::Acc (&acc)[Rows][Vectors], uint8_t* const* y,
                           const uint8_t* const* residual, const Panel& panel) {
  unroll<Rows / 2>([&](auto i) FXQUANT_UNROLLED {
    constexpr int m = 2 * i;
    Machine::template store<2, Vectors, HasResidual, Careful>(&acc[m], y + m, residual + m, panel);
  });
  if constexpr (Rows % 2 == 1) {
    constexpr int m = Rows - 1;
    Machine::template store<1, Vectors, HasResidual, Careful>(&acc[m], y + m, residual + m, panel);
  }
}

// One tile: Rows rows from `first` on, times one panel. A Careful one reads no byte behind a tap, and its store takes
// values beyond int32. Both are rare, so Careful tiles have one row.
template <class Machine, int Rows, int Vectors, bool Careful, int SpreadSteps>
void multiply_tile(const TileRows<Machine::kRows>& rows, int first, const Taps& taps, const Panel& shared_panel) {
  typename Machine::Acc acc[Rows][Vectors];
  const uint8_t* a[Rows];
  unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
    a[m] = rows.a[first + m] + shared_panel.a_offset;
    unroll<Vectors>([&](auto v)
                        FXQUANT_UNROLLED { acc[m][v] = Machine::load(shared_panel.bias + v * Machine::kLanes); });
  });
  if constexpr (SpreadSteps > 0) {
    accumulate_spread<Machine, Rows, SpreadSteps>(acc, a, taps, shared_panel.weights);
  } else {
    accumulate<Machine, Rows, Vectors, Careful>(acc, a, taps, shared_panel.weights);
  }
  const Panel panel = shared_panel;  // a copy: for all the compiler knows, stores of bytes could change the original
  if (rows.residual[0]) {
    finish<Machine, Rows, Vectors, true, Careful>(acc, rows.y + first, rows.residual + first, panel);
  } else {
    finish<Machine, Rows, Vectors, false, Careful>(acc, rows.y + first, rows.residual + first, panel);
  }
}

template <class Machine>
using MultiplyTile = void (*)(const TileRows<Machine::kRows>&, int, const Taps&, const Panel&);

// Whichever tile has `rows` rows.
template <class Machine, int Vectors, int SpreadSteps, int... Rows>
MultiplyTile<Machine> tile_of_rows(int64_t rows, std::integer_sequence<int, Rows...>) {
  static constexpr MultiplyTile<Machine> tiles[] = {multiply_tile<Machine, Rows + 1, Vectors, false, SpreadSteps>...};
  return tiles[rows - 1];
}

template <class Machine, int Vectors, int SpreadSteps>
void multiply(const TileRows<Machine::kRows>& rows, int64_t count, bool careful, const Taps& taps, const Panel& panel) {
  if (!careful) {
    const auto all_rows = std::make_integer_sequence<int, Machine::kRows>{};
    tile_of_rows<Machine, Vectors, SpreadSteps>(count, all_rows)(rows, 0, taps, panel);
    return;
  }
  for (int m = 0; m < count; ++m) multiply_tile<Machine, 1, Vectors, true, SpreadSteps>(rows, m, taps, panel);
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
    for (int64_t m = 0; m < count; ++m) {
      rows.a[m] = a_;
      rows.y[m] = y_;
      rows.residual[m] = residual_;
      next();
    }
  }

 private:
  void next() {
    if (++w_ < p_.y.w) {
      a_ += p_.a.stride_w;
      y_ += p_.y.stride_w;
      if (residual_) residual_ += p_.residual.stride_w;
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
      : p_(product), part_(part), header_(*product.packed), panels_(panels_of(header_)) {
    panel_.output = header_.output;
    panel_.residual = header_.residual;
    panel_.table = header_.has_table ? header_.table() : nullptr;
    panel_.spread_steps = header_.spread / 4;
  }

  // Panels that fit in L1 together are swept by each tile; larger ones in pairs, each pair by all tiles, so that whole
  // cache lines are written and every weight is read from afar once.
  void operator()() {
    const int64_t all = part_.panel_end - part_.panel_begin;
    const int64_t together = all * panels_.bytes <= kCachedWeights ? all : 2;
    for (int64_t panel = part_.panel_begin; panel < part_.panel_end; panel += together) {
      const int64_t end = panel + together < part_.panel_end ? panel + together : part_.panel_end;
      sweep_rows(panel, end);
    }
  }

 private:
  static constexpr int64_t kCachedWeights = 24 * 1024;

  void sweep_rows(int64_t panel_begin, int64_t panel_end) {
    const int64_t count = part_.row_end - part_.row_begin, tiles = (count + Machine::kRows - 1) / Machine::kRows;
    RowCursor cursor(p_, part_.row_begin);
    TileRows<Machine::kRows> rows;
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t size = count * (t + 1) / tiles - count * t / tiles;
      cursor.take(rows, size);
      for (int64_t panel = panel_begin; panel < panel_end; ++panel) multiply_panel(rows, size, panel);
    }
  }

  void multiply_panel(TileRows<Machine::kRows>& rows, int64_t count, int64_t index) {
    const int64_t group = index / panels_.per_group, panel = index % panels_.per_group;
    const int vectors = panels_.vectors(panel);
    const int64_t columns = static_cast<int64_t>(Machine::kLanes) * vectors;
    const int64_t first = panel * panels_.layout.columns(), rest = panels_.group_outputs - first;
    const uint8_t* packed = header_.panels() + group * panels_.group_bytes + panel * panels_.bytes;
    panel_.bias = reinterpret_cast<const int32_t*>(packed);
    panel_.multiplier = reinterpret_cast<const float*>(packed + 4 * columns);
    panel_.weights = packed + 8 * columns;
    panel_.a_offset = group * header_.group_inputs;
    panel_.column = group * panels_.group_outputs + first;
    panel_.columns = rest < columns ? rest : columns;
    const bool careful = !header_.bounded || (p_.taps.bytes % 4 != 0 && reads_past_end(rows, count));
    if constexpr (Machine::kSpreads) {
      if (panel_.spread_steps == 1) return multiply<Machine, 1, 1>(rows, count, careful, p_.taps, panel_);
      if (panel_.spread_steps == 2) return multiply<Machine, 1, 2>(rows, count, careful, p_.taps, panel_);
    }
    if (vectors == Machine::kVectors) {
      multiply<Machine, Machine::kVectors, 0>(rows, count, careful, p_.taps, panel_);
    } else {
      multiply<Machine, 1, 0>(rows, count, careful, p_.taps, panel_);
    }
  }

  // Whether a full last step of some row's last tap would end behind the input.
  bool reads_past_end(const TileRows<Machine::kRows>& rows, int64_t count) const {
    const Taps& taps = p_.taps;
    const int64_t last = (taps.h - 1) * taps.stride_h + (taps.w - 1) * taps.stride_w + (taps.bytes + 3) / 4 * 4;
    for (int64_t m = 0; m < count; ++m) {
      if (p_.a_end - rows.a[m] < last + panel_.a_offset) return true;
    }
    return false;
  }

  const Product& p_;
  const RunPart& part_;
  const PackedHeader& header_;
  const Panels panels_;
  Panel panel_;
};

}  // namespace
}  // namespace fxquant
