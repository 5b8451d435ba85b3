// Depthwise convolution for machines that sum four neighbouring products at once.
//
// A depthwise filter has no sum over channels, so the four are taps: interleaving the same channels of four rows
// bytewise gives quads, dwords with the four vertical neighbours of one channel, and one dot product sums four taps of
// a column. A quad serves every output row whose taps it holds: with weights (w0, w1, w2, 0) and (0, w0, w1, w2) two
// rows of a 3x3 layer, for instance.
//
// `V` is a vector of base/bytes.h with, in addition,
//   kBlock                 channels of a block; load_block, load_block_f32: a vector of what is packed for each
//   kTogether              output columns computed together: as many as the registers hold
//   kParts                 the vectors that a quad is held in
//   keep(vector)           where registers are plenty: a value that compilers may not load again instead of keeping it
//   activations(quad, parts), weights(quad, parts)    quads of u8 and of s8 to that form
//   dot(acc, activation, weight)                      per dword; over all parts it adds the four products
#pragma once
#include "base/unroll.h"
#include "depthwise/depthwise.h"

namespace fxquant {
namespace {

// Four input rows from `iy` on, `step_y` apart, as pointers to column `ix` and distances of columns. Rows outside of
// the image, and those from `used` on, which meet zero weights only, are x_zero_point.
struct FourRows {
  const uint8_t* pixel[4];
  int64_t step[4];

  FourRows(const DepthwiseTask& task, int64_t iy, int64_t step_y, int64_t ix, int used) {
    for (int i = 0; i < 4; ++i, iy += step_y) {
      const bool inside = i < used && iy >= 0 && iy < task.x.h;
      pixel[i] = inside ? task.x.at(0, iy, ix) : task.layer->outside;
      step[i] = inside ? task.x.stride_w : 0;
    }
  }
};

template <class V>
FXQUANT_UNROLLED inline void load_quads(const uint8_t* const (&pixel)[4], int channels,
                                        typename V::Int (&parts)[4][V::kParts]) {
  typename V::Int row[4], quad[4];
  unroll<4>([&](auto i) FXQUANT_UNROLLED { row[i] = V::load(pixel[i], channels); });
  interleave<V>(row, quad);
  unroll<4>([&](auto v) FXQUANT_UNROLLED { V::activations(quad[v], parts[v]); });
}

// Neighbouring outputs in memory, with their residuals if there are any.
struct OutputPixels {
  uint8_t* y;
  int64_t step_y;
  const uint8_t* residual;
  int64_t step_residual;

  OutputPixels(const DepthwiseTask& task, int64_t oy, int64_t ox)
      : y(task.y.at(0, oy, ox)),
        step_y(task.y.stride_w),
        residual(task.residual.data ? task.residual.at(0, oy, ox) : nullptr),
        step_residual(residual ? task.residual.stride_w : 0) {}
  void advance(int count) {
    y += count * step_y;
    residual += count * step_residual;
  }
};

// What the epilogue of a layer has to see to. bounded: there is neither a table nor a residual, and no value leaves
// int32. packed: the zero point is 0 as well, and the bounds are those of a byte, so that packing alone gives the
// output.
enum class Finish { packed, bounded, any };

inline Finish finish_of(const PackedDepthwise& layer) {
  const Requantize& q = layer.output;
  if (layer.clamps || layer.has_table) return Finish::any;
  return q.zero_point == 0 && q.quant_min == 0 && q.quant_max == 255 ? Finish::packed : Finish::bounded;
}

template <Finish How>
struct Chosen {
  constexpr operator Finish() const { return How; }
};

// body(Chosen<finish_of(layer)>{}).
template <class Body>
void with_finish(const DepthwiseTask& task, const Body& body) {
  switch (finish_of(*task.layer)) {
    case Finish::packed:
      return body(Chosen<Finish::packed>{});
    case Finish::bounded:
      return body(Chosen<Finish::bounded>{});
    case Finish::any:
      return body(Chosen<Finish::any>{});
  }
}

// From the accumulators of a block of channels to bytes in memory.
template <class V, Finish How>
class Epilogue {
  using Int = typename V::Int;

 public:
  explicit Epilogue(const DepthwiseTask& task)
      : saturate_(task.layer->output),
        residual_zero_point_(V::splat_32(task.layer->residual.zero_point)),
        residual_multiplier_(V::splat(task.layer->residual.multiplier)),
        multiplier_(task.block + 4 * V::kBlock),
        table_(task.layer->has_table ? task.layer->table : nullptr),
        channels_(task.channels),
        clamps_(task.layer->clamps != 0) {}

  // The rounded output of an accumulator, with residual codes or null.
  template <int Part>
  FXQUANT_UNROLLED Int round(Int acc, const Int* residual) const {
    typename V::Float value = V::mul(V::to_float(acc), V::load_block_f32(multiplier_ + Part * V::kBlock));
    if (How != Finish::any || !clamps_) return V::round(value);
    if (residual) value = V::add(value, term<Part>(*residual));
    return saturate_.round(value);
  }
  // That of the output `x` pixels from `out` on.
  template <int Part>
  FXQUANT_UNROLLED Int round_at(Int acc, const OutputPixels& out, int64_t x) const {
    if (How != Finish::any || !out.residual) return round<Part>(acc, nullptr);
    const Int residual = V::load(out.residual + x * out.step_residual, channels_);
    return round<Part>(acc, &residual);
  }
  FXQUANT_UNROLLED Int words(Int a, Int b) const {
    return How == Finish::packed ? V::pack_32(a, b) : saturate_.words(a, b);
  }
  FXQUANT_UNROLLED Int bytes(Int words_a, Int words_b) const {
    if (How == Finish::packed) return V::pack_16(words_a, words_b);
    const Int bytes = saturate_.bytes(words_a, words_b);
    return How == Finish::any && table_ ? V::lookup(table_, bytes) : bytes;
  }

 private:
  template <int Part>
  FXQUANT_UNROLLED typename V::Float term(Int residual) const {
    const Int codes = V::sub_32(widen<V, Part>(residual), residual_zero_point_);
    return V::mul(V::to_float(codes), residual_multiplier_);
  }

  Saturate<V> saturate_;
  Int residual_zero_point_;
  typename V::Float residual_multiplier_;
  const uint8_t* multiplier_;
  const uint8_t* table_;
  int channels_;
  bool clamps_;
};

// Layers without dilation whose kernel and stride are known: the quads of a strip of columns are made once, in a
// scratch that stays in the L1 cache, and read by all the output rows and columns that need them. Where the rows that
// they serve are as many as those of a quad, the lower quads are the upper ones of the rows that follow.
template <class V, int KernelH, int KernelW, int Stride>
class Quads {
  using Int = typename V::Int;
  using Columns = Int (*)[4][V::kParts];
  static constexpr int kGroups = (KernelH + 3) / 4;
  static constexpr int kColumns = 64 / kGroups + 4;

 public:
  static constexpr int kRows = (4 * kGroups - KernelH) / Stride + 1;  // output rows that the quads of a strip serve
  static constexpr int kOutputs = ((kColumns - KernelW) / Stride + 1) / V::kTogether * V::kTogether;

  explicit Quads(const DepthwiseTask& task) : task_(task) {
    for (int row = 0; row < kRows; ++row) shift_weights(row);
  }

  // Makes those of `count` outputs of the rows from `oy` on; `follows`: those of the rows above were the last ones
  // made.
  void make(int64_t oy, int64_t ox, int64_t count, bool follows) {
    const bool has_upper = kReused && follows;
    if (has_upper) first_group_ = (first_group_ + 1) % kGroups;
    for (int group = has_upper ? kGroups - 1 : 0; group < kGroups; ++group) {
      make_group(group, oy, ox, (count - 1) * Stride + KernelW);
    }
  }

  // Those that the outputs from one on read, on the way along a row.
  struct Position {
    Columns columns[kGroups];

    FXQUANT_UNROLLED void advance(int outputs) {
      unroll<kGroups>([&](auto g) FXQUANT_UNROLLED { columns[g] += outputs * Stride; });
    }
  };
  FXQUANT_UNROLLED Position begin() {
    Position at;
    unroll<kGroups>([&](auto g) FXQUANT_UNROLLED { at.columns[g] = group(g); });
    return at;
  }

  // Column by column, each for all taps of all outputs that it serves. Groups sum on their own, so that twice as many
  // products are under way at once.
  template <int Count, int Part>
  FXQUANT_UNROLLED void accumulate(int64_t row, const Position& at, Int (&acc)[Count]) const {
    Int sums[kGroups][Count];
    const Int bias = V::load(task_.block + Part * V::kWidth);
    unroll<kGroups * Count>([&](auto i)
                                FXQUANT_UNROLLED { sums[i / Count][i % Count] = i < Count ? bias : V::zero(); });
    unroll<(Count - 1) * Stride + KernelW>([&](auto c) FXQUANT_UNROLLED {
      unroll<kGroups * V::kParts>([&](auto k) FXQUANT_UNROLLED {
        constexpr int kGroup = k / V::kParts, kSplit = k % V::kParts;
        Int column = at.columns[kGroup][c][Part][kSplit];
        V::keep(column);
        unroll<KernelW>([&](auto j) FXQUANT_UNROLLED {
          constexpr int kOutput = (c - j) / Stride;
          if constexpr (c >= j && (c - j) % Stride == 0 && kOutput < Count) {
            const Int weight = weights_[row][kGroup][j][Part][kSplit];
            sums[kGroup][kOutput] = V::dot(sums[kGroup][kOutput], column, weight);
          }
        });
      });
    });
    unroll<Count>([&](auto x) FXQUANT_UNROLLED {
      acc[x] = sums[0][x];
      unroll<kGroups - 1>([&](auto g) FXQUANT_UNROLLED { acc[x] = V::add_32(acc[x], sums[g + 1][x]); });
    });
  }

 private:
  static constexpr bool kReused = kRows * Stride == 4;

  // The quads of the rows 4 * group to 4 * group + 3 from the first one on that an output row reads.
  Columns group(int group) { return quads_[(first_group_ + group) % kGroups]; }

  // The filters moved down by `row` strides, across the borders of quads: what that output row multiplies with.
  void shift_weights(int row) {
    const int8_t* packed = reinterpret_cast<const int8_t*>(task_.block + 8 * V::kWidth);
    constexpr int64_t kGroupBytes = int64_t{KernelW} * 4 * V::kWidth;
    const int bits = 8 * (row * Stride);
    static_assert((kRows - 1) * Stride < 4, "a filter moves less than a quad");
    for (int g = 0; g < kGroups; ++g) {
      for (int i = 0; i < KernelW * 4; ++i) {
        const int8_t* quad = packed + g * kGroupBytes + i * V::kWidth;
        Int moved = V::left_32(V::load(quad), bits);
        if (g > 0 && bits > 0) moved = V::add_32(moved, V::right_32(V::load(quad - kGroupBytes), 32 - bits));
        V::weights(moved, weights_[row][g][i / 4][i % 4]);
      }
    }
  }

  void make_group(int group, int64_t oy, int64_t ox, int64_t count) {
    const DepthwiseGeometry& g = task_.layer->geometry;
    const int64_t ix = ox * Stride - g.pad_left, iy = oy * Stride - g.pad_top;
    const int64_t first = ix < 0 ? (-ix < count ? -ix : count) : 0;
    const int64_t inside_end = task_.x.w - ix < count ? task_.x.w - ix : count;
    const int64_t last = inside_end > first ? inside_end : first;
    constexpr int kUsedRows = kReused ? 4 * kGroups : KernelH + (kRows - 1) * Stride;
    FourRows rows(task_, iy + 4 * group, 1, ix + first, kUsedRows - 4 * group);
    const Columns made = this->group(group);
    fill_outside(made, 0, first);
    for (int64_t column = first; column < last; ++column) {
      load_quads<V>(rows.pixel, task_.channels, made[column]);
      unroll<4>([&](auto i) FXQUANT_UNROLLED { rows.pixel[i] += rows.step[i]; });
    }
    fill_outside(made, last, count);
  }

  void fill_outside(Columns made, int64_t begin, int64_t end) {
    const Int outside = V::splat_8(task_.layer->x_zero_point);
    for (int64_t column = begin; column < end; ++column) {
      for (int v = 0; v < 4; ++v) V::activations(outside, made[column][v]);
    }
  }

  const DepthwiseTask& task_;
  Int weights_[kRows][kGroups][KernelW][4][V::kParts];
  Int quads_[kGroups][kColumns][4][V::kParts];
  int first_group_ = 0;
};

// Strip by strip of columns, from quads to outputs.
template <class V, int KernelH, int KernelW, int Stride, Finish How>
class Strip {
  using Int = typename V::Int;
  using Made = Quads<V, KernelH, KernelW, Stride>;

 public:
  explicit Strip(const DepthwiseTask& task) : task_(task), epilogue_(task), quads_(task) {}

  void run() {
    const int64_t strips = (task_.y.w + Made::kOutputs - 1) / Made::kOutputs;
    const int64_t even = (task_.y.w + strips - 1) / strips;
    const int64_t outputs = (even + V::kTogether - 1) / V::kTogether * V::kTogether;
    for (int64_t ox = 0; ox < task_.y.w; ox += outputs) {
      compute_strip(ox, task_.y.w - ox < outputs ? task_.y.w - ox : outputs);
    }
  }

 private:
  void compute_strip(int64_t ox, int64_t count) {
    for (int64_t oy = task_.row_begin; oy < task_.row_end; oy += Made::kRows) {
      const int64_t rows = task_.row_end - oy < Made::kRows ? task_.row_end - oy : Made::kRows;
      quads_.make(oy, ox, count, oy > task_.row_begin);
      for (int64_t row = 0; row < rows; ++row) compute_row(row, oy + row, ox, count);
    }
  }

  void compute_row(int64_t row, int64_t oy, int64_t ox, int64_t count) {
    OutputPixels out(task_, oy, ox);
    typename Made::Position at = quads_.begin();
    int64_t i = 0;
    const auto next = [&](auto together) FXQUANT_UNROLLED {
      compute<together>(row, at, out);
      out.advance(together);
      at.advance(together);
      i += together;
    };
    while (count - i >= V::kTogether) next(Index<V::kTogether>{});
    unroll<3>([&](auto halvings) FXQUANT_UNROLLED {
      constexpr int kFewer = 4 >> halvings;
      if (kFewer < V::kTogether && count - i >= kFewer) next(Index<kFewer>{});
    });
  }

  // Count outputs from `out` on, whose quads are `at`.
  template <int Count>
  FXQUANT_UNROLLED void compute(int64_t row, const typename Made::Position& at, const OutputPixels& out) {
    Int words[Count];
    unroll<2>([&](auto half) FXQUANT_UNROLLED {
      Int a[Count], b[Count];
      round_part<Count, 2 * half>(row, at, out, a);
      round_part<Count, 2 * half + 1>(row, at, out, b);
      unroll<Count>([&](auto x) FXQUANT_UNROLLED {
        const Int both = epilogue_.words(a[x], b[x]);
        if constexpr (half == 1) {
          V::store(out.y + x * out.step_y, epilogue_.bytes(words[x], both), task_.channels);
        } else {
          words[x] = both;
        }
      });
    });
  }

  template <int Count, int Part>
  FXQUANT_UNROLLED void round_part(int64_t row, const typename Made::Position& at, const OutputPixels& out,
                                   Int (&rounded)[Count]) {
    Int acc[Count];
    quads_.template accumulate<Count, Part>(row, at, acc);
    unroll<Count>([&](auto x) FXQUANT_UNROLLED { rounded[x] = epilogue_.template round_at<Part>(acc[x], out, x); });
  }

  const DepthwiseTask& task_;
  const Epilogue<V, How> epilogue_;
  Made quads_;
};

// Any layer: the quads of every output are made for it alone.
template <class V>
class Any {
  using Int = typename V::Int;

 public:
  explicit Any(const DepthwiseTask& task) : task_(task), epilogue_(task) {}

  void run() const {
    for (int64_t oy = task_.row_begin; oy < task_.row_end; ++oy) {
      for (int64_t ox = 0; ox < task_.y.w; ++ox) compute(oy, ox);
    }
  }

 private:
  void compute(int64_t oy, int64_t ox) const {
    const DepthwiseGeometry& g = task_.layer->geometry;
    Int acc[4];
    unroll<4>([&](auto v) FXQUANT_UNROLLED { acc[v] = V::load(task_.block + v * V::kWidth); });
    const uint8_t* weights = task_.block + 8 * V::kWidth;
    const int64_t iy = oy * g.stride_h - g.pad_top, ix = ox * g.stride_w - g.pad_left;
    for (int i = 0; i < g.kernel_h; i += 4, weights += int64_t{g.kernel_w} * 4 * V::kWidth) {
      const FourRows rows(task_, iy + int64_t{i} * g.dilation_h, g.dilation_h, 0, g.kernel_h - i);
      accumulate(rows, ix, weights, acc);
    }
    const OutputPixels out(task_, oy, ox);
    Int rounded[4];
    unroll<4>([&](auto v) FXQUANT_UNROLLED { rounded[v] = epilogue_.template round_at<v>(acc[v], out, 0); });
    const Int words_low = epilogue_.words(rounded[0], rounded[1]), words_high = epilogue_.words(rounded[2], rounded[3]);
    V::store(out.y, epilogue_.bytes(words_low, words_high), task_.channels);
  }

  FXQUANT_UNROLLED void accumulate(const FourRows& rows, int64_t ix, const uint8_t* weights, Int (&acc)[4]) const {
    const DepthwiseGeometry& g = task_.layer->geometry;
    for (int j = 0; j < g.kernel_w; ++j, ix += g.dilation_w, weights += 4 * V::kWidth) {
      if (ix < 0 || ix >= task_.x.w) {
        const Int outside = V::splat_8(task_.layer->x_zero_point);
        unroll<4>([&](auto v) FXQUANT_UNROLLED {
          Int parts[V::kParts];
          V::activations(outside, parts);
          add(parts, weights + v * V::kWidth, acc[v]);
        });
        continue;
      }
      const uint8_t* pixel[4];
      unroll<4>([&](auto i) FXQUANT_UNROLLED { pixel[i] = rows.pixel[i] + ix * rows.step[i]; });
      Int parts[4][V::kParts];
      load_quads<V>(pixel, task_.channels, parts);
      unroll<4>([&](auto v) FXQUANT_UNROLLED { add(parts[v], weights + v * V::kWidth, acc[v]); });
    }
  }

  FXQUANT_UNROLLED static void add(const Int (&parts)[V::kParts], const uint8_t* weight, Int& acc) {
    Int weight_parts[V::kParts];
    V::weights(V::load(weight), weight_parts);
    unroll<V::kParts>([&](auto k) FXQUANT_UNROLLED { acc = V::dot(acc, parts[k], weight_parts[k]); });
  }

  const DepthwiseTask& task_;
  const Epilogue<V, Finish::any> epilogue_;
};

// A vector that a block of channels fills.
template <class Bytes>
struct Whole : Bytes {
  static constexpr int kBlock = Bytes::kWidth;
  static auto load_block(const uint8_t* p) { return Bytes::load(p); }
  static auto load_block_f32(const uint8_t* p) { return Bytes::load_f32(p); }
};

// body(Products<Whole<Bytes>>{}), of which Products makes a V, for the byte vector that has the task's channels.
template <template <class> class Products, class Body>
void with_whole(const DepthwiseTask& task, const Body& body) {
  with_bytes(task.width, [&](auto bytes) { body(Products<Whole<decltype(bytes)>>{}); });
}

template <template <class> class Products, int Kernel, int Stride>
void strip(const DepthwiseTask& task) {
  with_whole<Products>(task, [&](auto v) {
    with_finish(task, [&](auto how) { Strip<decltype(v), Kernel, Kernel, Stride, how>(task).run(); });
  });
}

template <template <class> class Products>
void any(const DepthwiseTask& task) {
  with_whole<Products>(task, [&](auto v) { Any<decltype(v)>(task).run(); });
}

}  // namespace
}  // namespace fxquant
