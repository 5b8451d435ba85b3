// The loops of the product around its tiles, for a Machine of tile.h.
#pragma once
#include "gemm/pipelined.h"

namespace fxquant {
namespace {

// Of `rows` the first `whole` in tiles of `tiling`, and what is left in a smaller one. A careful tile reads no byte
// behind a tap, and its store takes values beyond int32: the other rows. They are few, so their tiles have one row.
template <class Machine, int Vectors, int SpreadSteps, bool HasResidual>
void multiply(const RowRun& rows, int64_t whole, const Tiling& tiling, const Taps& taps, const Panel& panel,
              const Ahead& ahead) {
  const int64_t rest = rest_of(whole, tiling, Machine::kRows), even = whole - rest;
  const auto tiles = [&](int64_t size) {
    return tiles_of<Machine, Vectors, SpreadSteps, HasResidual>(size, panel.plain);
  };
  if (even > 0 && tiling.pipelined) {
    pipelined_tiles_of<Machine, Vectors, HasResidual>(taps, panel)(rows.first(even), taps, panel, ahead);
  } else if (even > 0) {
    tiles(tiling.rows)(rows.first(even), taps, panel, ahead);
  }
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

// The gaps behind every `line` rows of a run, in bytes.
struct Gaps {
  int64_t line = INT64_MAX, outputs = 0, inputs = 0;
};

// Where rows of the grid have gaps between them, the same product with an image for a row, so that a call for some
// tiles is one for many: if outputs alone have gaps, as in an image that lies within a larger one, and rows are longer
// than a tile of `most`; and if tiles of no less than half of that make up a row.
inline Gaps with_gaps(Product& p, int64_t most) {
  Nhwc<uint8_t>& y = p.y;
  const Gaps gaps = {y.w, y.stride_h - y.w * y.stride_w, p.a.stride_h - y.w * p.a.stride_w};
  const bool fit = gaps.inputs == 0 ? y.w >= most : tile_of_line(y.w, most) >= most / 2;
  if (y.h == 1 || !fit || p.residual.data || p.packed->gives_floats) return {};
  y.w *= y.h;
  y.h = 1;
  return gaps;
}

// Walks the grid of output rows in order.
class RowCursor {
 public:
  RowCursor(const Product& p, const Gaps& gaps, int64_t row)
      : p_(p), gaps_(gaps), n_(row / p.y.w / p.y.h), h_(row / p.y.w % p.y.h), line_(line().from(row % p.y.w)) {}
  // The next rows up to the end of a row of the grid, at most `limit`. Where inputs have gaps, whole lines or a part of
  // one.
  RowRun take(int64_t limit) {
    int64_t count = line_.count < limit ? line_.count : limit;
    if (gaps_.inputs != 0) {
      if (line_.left < gaps_.line) count = count < line_.left ? count : line_.left;
      if (count > gaps_.line) count -= count % gaps_.line;
    }
    const RowRun run = line_.first(count);
    line_ = line_.from(run.count);
    if (line_.count == 0) {
      if (++h_ == p_.y.h) {
        h_ = 0;
        ++n_;
      }
      line_ = line();
    }
    return run;
  }

 private:
  template <class T>
  T* at(const Nhwc<T>& view) const {
    return view.data ? view.data + n_ * view.stride_n + h_ * view.stride_h : nullptr;
  }
  // The present row of the grid.
  RowRun line() const {
    const int64_t residual_step = p_.residual.data ? p_.residual.stride_w : 0;
    return {at(p_.a), at(p_.residual), at(p_.y),      p_.a.stride_w, residual_step, p_.y.stride_w,
            p_.y.w,   gaps_.line,      gaps_.outputs, gaps_.inputs,  gaps_.line};
  }

  const Product& p_;
  const Gaps& gaps_;
  int64_t n_, h_;
  RowRun line_;
};

template <class Machine>
class Run {
 public:
  Run(const Product& product, const RunPart& part)
      : p_(flattened(product)),
        gaps_(with_gaps(p_, Machine::kRows)),
        part_(part),
        header_(*product.packed),
        panels_(panels_of(header_)),
        together_(panels_together()),
        upcoming_(own_panels(), share_of_next(), rows() * (part.panel_end - part.panel_begin)) {}

  // Panels that fit in L1 together are swept by each block of rows, and so are those of few rows; larger ones in
  // pairs, each pair by all rows, so that whole cache lines are written and every weight is read from afar once.
  void operator()() {
    for (int64_t panel = part_.panel_begin; panel < part_.panel_end; panel += together_) {
      const int64_t end = panel + together_ < part_.panel_end ? panel + together_ : part_.panel_end;
      sweep_rows(panel, end);
    }
  }

 private:
  static constexpr int64_t kCachedWeights = 24 * 1024, kTogether = 32;
  // Panels that few rows are multiplied by at once: three at most, whose sums leave registers for all else.
  static constexpr int kAbreast = 4, kFewRows = Machine::kRows * Machine::kVectors >= 28 ? 3 : 1;
  // A block's inputs stay in L2 from one panel to the next, which tiles read fast enough. Blocks are no smaller, since
  // a call for a block and a panel costs as much as some tiles, and its first and last tile overlap with no other.
  static constexpr int64_t kCachedRows = 160 * 1024, kTilesOfBlock = 16;

  int64_t rows() const { return part_.row_end - part_.row_begin; }
  int64_t panels_together() const {
    const int64_t all = part_.panel_end - part_.panel_begin;
    if (rows() <= kFewRows) return all < kTogether ? all : kTogether;
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
    RowCursor cursor(p_, gaps_, part_.row_begin);
    for (int64_t left = rows(); left > 0;) {
      const RowRun run = cursor.take(left);
      left -= run.count;
      const int64_t block = whole_tiles(run, even_tile(run.count, rows_of_block()));
      for (int64_t row = 0; row < run.count; row += block) {
        const RowRun rows = run.from(row).first(run.count - row < block ? run.count - row : block);
        multiply_panels(rows, panels, panel_end - panel_begin);
      }
    }
  }
  // What is left of a block behind its tiles is a tile of few rows, which is slow.
  static int64_t whole_tiles(const RowRun& run, int64_t rows) {
    constexpr int64_t kPipelined = Machine::template kPipelinedRows<1>, kTile = kPipelined > 0 ? kPipelined : 1;
    const int64_t tile = run.a_gap != 0 ? run.line : kTile;
    return (rows + tile - 1) / tile * tile;
  }
  int64_t rows_of_block() const {
    const int64_t tile = Machine::kRows, cached = kCachedRows / (p_.taps.h * p_.taps.w * p_.taps.bytes) / tile;
    return tile * (cached < 1 ? 1 : cached < kTilesOfBlock ? cached : kTilesOfBlock);
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
    const bool whole = panel.columns == int64_t{Machine::kLanes} * panel.vectors;
    panel.whole_floats = panel.float_bias && whole && panel.float_step == 4;
    return panel;
  }

  void multiply_panels(const RowRun& rows, const Panel* panels, int64_t count) {
    for (int64_t i = 0; i < count;) {
      if constexpr (Machine::kAdds) {
        if (i + kAbreast <= count && abreast(rows, panels[i], panels[i + kAbreast - 1])) {
          multiply_abreast(rows, panels + i);
          i += kAbreast;
          continue;
        }
      }
      multiply_panel(rows, panels[i++]);
    }
  }

  void multiply_abreast(const RowRun& rows, const Panel* panels) const {
    const auto multiply = [&](auto count) {
      multiply_few<Machine, count, kAbreast, Machine::kVectors>(rows, p_.taps, panels, panels_.bytes);
    };
    if constexpr (kFewRows == 3) {
      if (rows.count == 3) return multiply(Index<3>{});
      if (rows.count == 2) return multiply(Index<2>{});
    }
    multiply(Index<1>{});
  }

  // Whether they are few rows, one as far behind the other, read in whole steps, and panels that only the columns tell
  // apart.
  bool abreast(const RowRun& rows, const Panel& first, const Panel& last) const {
    return rows.count <= kFewRows && (rows.count == 1 || rows.a_gap == 0) && header_.bounded &&
           first.a_offset == last.a_offset && last.vectors == Machine::kVectors && !last.half &&
           rows_before_end(rows, last.a_offset) == rows.count;
  }

  void multiply_panel(const RowRun& rows, const Panel& panel) {
    if constexpr (Machine::kSpreads) {
      if (panel.spread_steps == 1) return multiply_panel<Machine, 1, 1>(rows, panel);
      if (panel.spread_steps == 2) return multiply_panel<Machine, 1, 2>(rows, panel);
    }
    if constexpr (Machine::kHalves) {
      if (panel.half) return multiply_panel<typename Machine::Half, 1, 0>(rows, panel);
    }
    if (panel.vectors == Machine::kVectors) {
      multiply_panel<Machine, Machine::kVectors, 0>(rows, panel);
    } else {
      multiply_panel<Machine, 1, 0>(rows, panel);
    }
  }

  template <class Of, int Vectors, int SpreadSteps>
  void multiply_panel(const RowRun& rows, const Panel& panel) {
    const Tiling tiling = tiling_of<Of, Vectors, SpreadSteps>(rows, p_.taps, panel);
    const Ahead ahead = upcoming_.take((rows.count + tiling.rows - 1) / tiling.rows, tiling.rows, panels_.steps);
    const int64_t whole = header_.bounded ? rows_before_end(rows, panel.a_offset) : 0;
    if (rows.residual && !panel.dynamic) {
      multiply<Of, Vectors, SpreadSteps, true>(rows, whole, tiling, p_.taps, panel, ahead);
    } else {
      multiply<Of, Vectors, SpreadSteps, false>(rows, whole, tiling, p_.taps, panel, ahead);
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

  Product p_;
  const Gaps gaps_;
  const RunPart& part_;
  const PackedHeader& header_;
  const Panels panels_;
  const int64_t together_;
  Upcoming upcoming_;
};

}  // namespace
}  // namespace fxquant
