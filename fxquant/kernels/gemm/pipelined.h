// Tiles that are written while the next one is computed.
//
// Where k is short, requantizing takes as long as multiplying, and a CPU cannot look so far ahead that it would overlap
// the two by itself: what waits for a tile's last product fills its schedulers. Here both stand side by side in the
// code: a step over k of a tile, or several, are followed by the stores of some rows of the one before. Both tiles'
// accumulators share the registers, so tiles are half as high. Float outputs are written in the same way.
#pragma once
#include "gemm/tile.h"

namespace fxquant {
namespace {

inline bool one_tap(const Taps& taps) { return taps.h * taps.w == 1; }

// How many steps over k a tile takes: for one tap, and for all.
inline int64_t steps_of_tap(const Taps& taps) { return (taps.bytes + 3) / 4; }
inline int64_t steps_of(const Taps& taps) { return taps.h * taps.w * steps_of_tap(taps); }

// These steps, one at a time.
template <class Machine, int Rows, int Vectors, bool OneTap>
class Steps {
 public:
  FXQUANT_INLINE Steps(const InputRows& a, const Taps& taps, const uint8_t* weights)
      : a_(a), taps_(taps), row_(a, 0), weights_(weights), left_(steps_of_tap(taps)) {}

  // acc += the product of the next step.
  FXQUANT_INLINE void next(typename Machine::Acc (&acc)[Rows][Vectors]) {
    multiply_step<Machine>(acc, row_, weights_, load_step);
    weights_ += Vectors * Machine::kStepBytes;
    row_.advance(4);
    --left_;
    if constexpr (!OneTap) {
      if (left_ == 0) next_tap();
    }
  }
  FXQUANT_INLINE bool any() const { return left_ > 0; }

 private:
  FXQUANT_INLINE void next_tap() {
    if (++j_ == taps_.w) {
      j_ = 0;
      if (++i_ == taps_.h) return;
    }
    row_ = MovingRows<Rows>(a_, i_ * taps_.stride_h + j_ * taps_.stride_w);
    left_ = steps_of_tap(taps_);
  }

  const InputRows a_;
  const Taps& taps_;
  MovingRows<Rows> row_;
  const uint8_t* weights_;
  int64_t left_, i_ = 0, j_ = 0;
};

// All rows, in tiles of Rows of them, times one panel. Spread: the stores are spread over all of k, which is long
// enough for several steps behind each; else they stand behind the first steps.
template <class Machine, int Rows, int Vectors, bool HasResidual, Finish How, bool OneTap, bool Spread>
void multiply_tiles_pipelined(RowRun rows, const Taps& taps, const Panel& shared_panel, Ahead ahead) {
  constexpr bool kFloats = How == Finish::floats;
  constexpr int kTogether = kFloats ? 1 : Machine::template kStoredRows<Vectors>;
  // All that a panel points to, from one pointer, so that they take one register.
  Panel panel = shared_panel;
  panel.multiplier = reinterpret_cast<const float*>(panel.bias + Machine::kLanes * Vectors);
  const float* behind = panel.multiplier + Machine::kLanes * Vectors;
  if constexpr (kFloats) {
    panel.float_bias = behind;
    behind += Machine::kLanes * Vectors;
  }
  panel.weights = reinterpret_cast<const uint8_t*>(behind);
  rows.a += panel.a_offset;
  rows.y += kFloats ? 4 * panel.column : panel.column;
  if constexpr (HasResidual) rows.residual += panel.column;
  panel.column = 0;

  typename Machine::Acc acc[Rows][Vectors], done[Rows][Vectors];
  const auto steps_of_tile = [&]() FXQUANT_UNROLLED {
    return Steps<Machine, Rows, Vectors, OneTap>({rows.a, rows.a_step}, taps, panel.weights);
  };
  const auto next = [&](Steps<Machine, Rows, Vectors, OneTap>& steps) FXQUANT_UNROLLED {
    steps.next(acc);
    fetch(ahead);
  };
  const auto finish_steps = [&](Steps<Machine, Rows, Vectors, OneTap>& steps) FXQUANT_UNROLLED {
    while (steps.any()) next(steps);
  };
  [[maybe_unused]] const int64_t more_steps = steps_of(taps) / (Rows / kTogether) - 1;
  begin_tile<Machine, kFloats>(acc, rows, 0, panel);
  auto first_steps = steps_of_tile();
  finish_steps(first_steps);
  for (; rows.count >= 2 * Rows; rows.count -= Rows) {
    unroll<Rows>([&](auto m)
                     FXQUANT_UNROLLED { unroll<Vectors>([&](auto v) FXQUANT_UNROLLED { done[m][v] = acc[m][v]; }); });
    begin_tile<Machine, kFloats>(acc, rows, Rows, panel);
    rows.a += Rows * rows.a_step;
    auto steps = steps_of_tile();
    unroll<Rows / kTogether>([&](auto i) FXQUANT_UNROLLED {
      next(steps);
      store_rows<Machine, kTogether, Vectors, HasResidual, How>(&done[kTogether * i], rows, panel);
      if constexpr (Spread) {
        for (int64_t left = more_steps; left > 0; --left) next(steps);
      }
    });
    finish_steps(steps);
  }
  finish<Machine, Rows, Vectors, HasResidual, How>(acc, rows, panel);
}

template <class Machine, int Vectors, bool HasResidual, Finish How>
MultiplyTiles<Machine> pipelined_tiles_of(const Taps& taps) {
  constexpr int kRows = Machine::template kPipelinedRows<Vectors>;
  constexpr int64_t kLong = 16;
  if (steps_of(taps) < kLong) {
    return one_tap(taps) ? multiply_tiles_pipelined<Machine, kRows, Vectors, HasResidual, How, true, false>
                         : multiply_tiles_pipelined<Machine, kRows, Vectors, HasResidual, How, false, false>;
  }
  return one_tap(taps) ? multiply_tiles_pipelined<Machine, kRows, Vectors, HasResidual, How, true, true>
                       : multiply_tiles_pipelined<Machine, kRows, Vectors, HasResidual, How, false, true>;
}

// Where a Machine has such tiles.
template <class Machine, int Vectors, bool HasResidual>
MultiplyTiles<Machine> pipelined_tiles_of([[maybe_unused]] const Taps& taps, [[maybe_unused]] const Panel& panel) {
  if constexpr (Machine::template kPipelinedRows<Vectors> == 0) {
    return nullptr;
  } else {
    if constexpr (Vectors == Machine::kVectors) {
      const bool packed = panel.plain && panel.output.zero_point == 0;
      if (packed) return pipelined_tiles_of<Machine, Vectors, HasResidual, Finish::packed>(taps);
      if (panel.plain) return pipelined_tiles_of<Machine, Vectors, HasResidual, Finish::plain>(taps);
    }
    if constexpr (!HasResidual) {
      if (panel.whole_floats) return pipelined_tiles_of<Machine, Vectors, HasResidual, Finish::floats>(taps);
    }
    return pipelined_tiles_of<Machine, Vectors, HasResidual, Finish::any>(taps);
  }
}

// How rows are cut into tiles.
struct Tiling {
  int64_t rows;
  bool pipelined;
};

// The largest tile of at most `most` rows that some of make up a line.
inline int64_t tile_of_line(int64_t line, int64_t most) {
  int64_t rows = line < most ? line : most;
  while (line % rows != 0) --rows;
  return rows;
}

// Of `run` and products over `taps`. Where a product is long, stores are a small part, and high tiles load fewer
// weights.
template <class Machine, int Vectors, int SpreadSteps>
Tiling tiling_of(const RowRun& run, [[maybe_unused]] const Taps& taps, [[maybe_unused]] const Panel& panel) {
  const int64_t rows = run.count;
  if (run.a_gap != 0 && rows >= run.line) return {tile_of_line(run.line, Machine::kRows), false};
  constexpr int64_t kTile = SpreadSteps > 0 ? 0 : Machine::template kPipelinedRows<Vectors>;
  if constexpr (kTile > 0) {
    const int64_t stores = panel.float_bias ? kTile : kTile / Machine::template kStoredRows<Vectors>;
    const int64_t rest = rows % kTile, steps = steps_of(taps), longest = one_tap(taps) ? 256 : 80;
    const bool even = rest == 0 || rest >= kTile / 2 || rest + kTile <= Machine::kRows || rows >= 16 * kTile;
    const bool fit = stores <= steps && steps <= longest && (panel.whole_floats || !panel.float_bias);
    if (rows >= 2 * kTile && even && fit) return {kTile, true};
  }
  return {even_tile(rows, Machine::kRows), false};
}

// Of `rows` rows those behind the last tile. Where they are few, so that a tile of them would be slow, that tile is of
// them and of the last whole one's, as far as a tile of at most `most` rows holds both.
inline int64_t rest_of(int64_t rows, const Tiling& tiling, int64_t most) {
  const int64_t rest = rows % tiling.rows, both = rest + tiling.rows;
  const bool few = tiling.pipelined && rest > 0 && rest < tiling.rows / 2;
  return few && both <= most && both < rows ? both : rest;
}

}  // namespace
}  // namespace fxquant
