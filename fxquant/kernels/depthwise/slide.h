// Depthwise 3x3 layers: the quads of the columns that an output needs stay in registers while it moves along its row.
// With stride 1 these serve the row below as well, whose filters are a byte further down in a quad.
//
// Where a block of channels is narrower than a vector, the vector holds it for kPixels outputs side by side: its quads
// are those of kPixels pixels, each Stride after the one before. They serve the first tap. The pixels of a later tap
// are some of these and some of the next ones', so shifting the two together gives its quads.
//
// `V` is as in generic.h, with in addition
//   kPixels, load_pixels(pixels, channels), store_pixels(y, step, bytes, channels, pixels)
//   shifted<Pixels>(a, b)    the pixels of a from the given one on, and as many first ones of b
#pragma once
#include "depthwise/generic.h"

namespace fxquant {
namespace {

// `Rows` output rows at a time, of which a run has a multiple.
template <class V, int Stride, int Rows, Finish How>
class Slide {
  using Int = typename V::Int;
  static constexpr int kKernel = 3, kInputs = kKernel + (Rows - 1) * Stride;
  static_assert(kInputs <= 4, "the rows that are read fill a quad");
  static constexpr int kPixels = V::kPixels, kStep = kPixels * Stride;
  static constexpr int kKept = ((kKernel - 1) / Stride + kPixels - 1) / kPixels + 1;

 public:
  explicit Slide(const DepthwiseTask& task) : task_(task), epilogue_(task) {
    const uint8_t* packed = task_.block + 8 * V::kBlock;
    unroll<kKernel * 4>([&](auto i) FXQUANT_UNROLLED {
      Int& weight = weights_[0][i / 4][i % 4];
      weight = V::load_block(packed + i * V::kBlock);
      V::keep(weight);
      if constexpr (Rows == 2) weights_[1][i / 4][i % 4] = V::left_32(weight, 8 * Stride);
    });
  }

  FXQUANT_UNROLLED void run(int64_t row_begin, int64_t row_end) {
    for (int64_t oy = row_begin; oy < row_end; oy += Rows) compute_rows(oy);
  }

 private:
  // Where the rows that are computed together have their next pixels.
  struct Outputs {
    OutputPixels row[Rows];

    void advance(int count) {
      unroll<Rows>([&](auto i) FXQUANT_UNROLLED { row[i].advance(count); });
    }
  };

  template <int... Row>
  Outputs outputs(int64_t oy, std::integer_sequence<int, Row...>) const {
    return {{OutputPixels(task_, oy + Row, 0)...}};
  }

  FXQUANT_UNROLLED void compute_rows(int64_t oy) {
    const DepthwiseGeometry& g = task_.layer->geometry;
    const FourRows rows(task_, oy * Stride - g.pad_top, 1, 0, kInputs);
    Outputs out = outputs(oy, std::make_integer_sequence<int, Rows>{});
    int64_t ix = -g.pad_left, left = task_.y.w;
    const auto anywhere = [&]() FXQUANT_UNROLLED {
      shift();
      load_anywhere(rows, ix);
      ix += kStep;
    };
    const auto next_anywhere = [&]() FXQUANT_UNROLLED {
      anywhere();
      compute(out, left < kPixels ? static_cast<int>(left) : kPixels);
      out.advance(kPixels);
      left -= kPixels;
    };
    unroll<kKept - 1>([&](auto) FXQUANT_UNROLLED { anywhere(); });
    while (left > 0 && ix < 0) next_anywhere();
    const int64_t inside = left / kPixels, loadable = (task_.x.w - ix) / kStep;
    const int64_t count = inside < loadable ? inside : loadable;
    if (count > 0) {
      next_inside(rows, ix, count, out);
      left -= count * kPixels;
      ix += count * kStep;
    }
    while (left > 0) next_anywhere();
  }

  // The next `count` vectors of outputs, which read pixels inside of the image from ix on.
  FXQUANT_UNROLLED void next_inside(const FourRows& rows, int64_t ix, int64_t count, Outputs& out) {
    const uint8_t* pixel[kInputs];
    unroll<kInputs>([&](auto i) FXQUANT_UNROLLED { pixel[i] = rows.pixel[i] + ix * rows.step[i]; });
    for (; count > 0; --count) {
      shift();
      load([&](auto i, auto at) FXQUANT_UNROLLED { return pixel[i] + at * rows.step[i]; });
      unroll<kInputs>([&](auto i) FXQUANT_UNROLLED { pixel[i] += kStep * rows.step[i]; });
      compute(out, kPixels);
      out.advance(kPixels);
    }
  }

  FXQUANT_UNROLLED void shift() {
    unroll<Stride*(kKept - 1) * 4>([&](auto i) FXQUANT_UNROLLED {
      constexpr int phase = i / 4 % Stride, k = i / 4 / Stride;
      quads_[phase][k][i % 4] = quads_[phase][k + 1][i % 4];
    });
  }

  // Loads the pixels ix + phase, ix + phase + Stride, ... of every phase.
  FXQUANT_UNROLLED void load_anywhere(const FourRows& rows, int64_t ix) {
    load([&](auto i, auto at) FXQUANT_UNROLLED {
      const bool exists = ix + at >= 0 && ix + at < task_.x.w;
      return exists ? rows.pixel[i] + (ix + at) * rows.step[i] : task_.layer->outside;
    });
  }
  template <class Find>
  FXQUANT_UNROLLED void load(const Find& find) {
    unroll<Stride>([&](auto phase) FXQUANT_UNROLLED {
      Int row[4];
      unroll<kInputs>([&](auto i) FXQUANT_UNROLLED {
        const uint8_t* pixels[kPixels];
        unroll<kPixels>([&](auto p) FXQUANT_UNROLLED { pixels[p] = find(i, Index<phase + p * Stride>{}); });
        row[i] = V::load_pixels(pixels, task_.channels);
      });
      if constexpr (kInputs < 4) row[3] = V::zero();
      interleave<V>(row, quads_[phase][kKept - 1]);
    });
  }

  FXQUANT_UNROLLED void compute(const Outputs& out, int pixels) const {
    unroll<Rows>([&](auto row) FXQUANT_UNROLLED { compute_row<row>(out.row[row], pixels); });
  }

  template <int Row>
  FXQUANT_UNROLLED void compute_row(const OutputPixels& out, int pixels) const {
    Int rounded[4], residual;
    if (How == Finish::any && out.residual) residual = load_residual(out, pixels);
    unroll<4>([&](auto v) FXQUANT_UNROLLED {
      Int acc = V::load_block(task_.block + v * V::kBlock);
      unroll<kKernel>([&](auto j) FXQUANT_UNROLLED {
        constexpr int kPhase = j % Stride, kFirst = j / Stride / kPixels, kShift = j / Stride % kPixels;
        constexpr int kNext = kShift > 0 ? kFirst + 1 : kFirst;
        const Int column = V::template shifted<kShift>(quads_[kPhase][kFirst][v], quads_[kPhase][kNext][v]);
        acc = V::dot(acc, column, weights_[Row][j][v]);
      });
      const bool added = How == Finish::any && out.residual;
      rounded[v] = epilogue_.template round<v>(acc, added ? &residual : nullptr);
    });
    const Int low = epilogue_.words(rounded[0], rounded[1]), high = epilogue_.words(rounded[2], rounded[3]);
    V::store_pixels(out.y, out.step_y, epilogue_.bytes(low, high), task_.channels, pixels);
  }

  // Where there is none, that of the first pixel.
  FXQUANT_UNROLLED Int load_residual(const OutputPixels& out, int pixels) const {
    const uint8_t* pixel[kPixels];
    unroll<kPixels>([&](auto p)
                        FXQUANT_UNROLLED { pixel[p] = out.residual + (p < pixels ? p * out.step_residual : 0); });
    return V::load_pixels(pixel, task_.channels);
  }

  const DepthwiseTask task_;  // a copy, which stores of bytes cannot change
  const Epilogue<V, How> epilogue_;
  Int weights_[Rows][kKernel][4];
  Int quads_[Stride][kKept][4];  // of the pixels phase, phase + Stride, ...; the last ones are those loaded last
};

}  // namespace
}  // namespace fxquant
