// Depthwise 3x3 layers whose block of channels is narrower than a vector: neighbouring outputs side by side in one.
//
// A vector holds the block for kPixels pixels, each Stride after the one before. The quads of those pixels serve the
// first tap; the others' pixels lie between them and the next ones', so shifting the two together gives the quads.
//
// `V` is as in generic.h, with in addition
//   kPixels, load_pixels(pixels, channels), store_pixels(y, step, bytes, channels, pixels)
//   shifted<Pixels>(a, b)    the pixels of a from the given one on, and as many first ones of b
#pragma once
#include "depthwise/generic.h"

namespace fxquant {
namespace {

template <class V, int Stride>
class Pixels {
  using Int = typename V::Int;
  using Quads = Int[4];
  static constexpr int kKernel = 3, kPixels = V::kPixels;
  static_assert((kKernel - 1) / Stride <= kPixels, "taps lie in two neighbouring vectors");

 public:
  explicit Pixels(const DepthwiseTask& task) : task_(task), epilogue_(task) {
    const uint8_t* packed = task_.block + 8 * V::kBlock;
    for (int i = 0; i < kKernel * 4; ++i) weights_[i / 4][i % 4] = V::load_block(packed + i * V::kBlock);
  }

  void run() const {
    for (int64_t oy = task_.row_begin; oy < task_.row_end; ++oy) compute_row(oy);
  }

 private:
  void compute_row(int64_t oy) const {
    const DepthwiseGeometry& g = task_.layer->geometry;
    const FourRows rows(task_, oy * Stride - g.pad_top, 1, 0, kKernel);
    Quads now[Stride], next[Stride];
    int64_t ix = -g.pad_left;
    unroll<Stride>([&](auto phase) FXQUANT_UNROLLED { load(rows, ix + phase, now[phase]); });
    for (int64_t ox = 0; ox < task_.y.w; ox += kPixels) {
      ix += kPixels * Stride;
      unroll<Stride>([&](auto phase) FXQUANT_UNROLLED { load(rows, ix + phase, next[phase]); });
      const int64_t left = task_.y.w - ox;
      compute(now, next, OutputPixels(task_, oy, ox), left < kPixels ? static_cast<int>(left) : kPixels);
      unroll<4 * Stride>([&](auto i) FXQUANT_UNROLLED { now[i / 4][i % 4] = next[i / 4][i % 4]; });
    }
  }

  // The quads of the pixels ix, ix + Stride, ..., which need not be inside of the image.
  FXQUANT_UNROLLED void load(const FourRows& rows, int64_t ix, Quads& quads) const {
    const bool inside = ix >= 0 && ix + (kPixels - 1) * Stride < task_.x.w;
    Int row[4];
    unroll<kKernel>([&](auto i) FXQUANT_UNROLLED {
      const uint8_t* pixel[kPixels];
      unroll<kPixels>([&](auto p) FXQUANT_UNROLLED {
        const int64_t at = ix + p * Stride;
        const bool exists = inside || (at >= 0 && at < task_.x.w);
        pixel[p] = exists ? rows.pixel[i] + at * rows.step[i] : task_.layer->outside;
      });
      row[i] = V::load_pixels(pixel, task_.channels);
    });
    row[kKernel] = V::zero();
    interleave<V>(row, quads);
  }

  FXQUANT_UNROLLED void compute(const Quads (&now)[Stride], const Quads (&next)[Stride], const OutputPixels& out,
                                int pixels) const {
    Int rounded[4][1];
    unroll<4>([&](auto v) FXQUANT_UNROLLED {
      Int acc[1] = {V::load_block(task_.block + v * V::kBlock)};
      unroll<kKernel>([&](auto j) FXQUANT_UNROLLED {
        const Int column = V::template shifted<j / Stride>(now[j % Stride][v], next[j % Stride][v]);
        acc[0] = V::dot(acc[0], column, weights_[j][v]);
      });
      epilogue_.template round<v>(acc, out, rounded[v]);
    });
    const Int bytes = epilogue_.bytes(epilogue_.words(rounded[0][0], rounded[1][0]),
                                      epilogue_.words(rounded[2][0], rounded[3][0]));
    V::store_pixels(out.y, out.step_y, bytes, task_.channels, pixels);
  }

  const DepthwiseTask& task_;
  const Epilogue<V> epilogue_;
  Int weights_[kKernel][4];
};

}  // namespace
}  // namespace fxquant
