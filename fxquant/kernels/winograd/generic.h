// The transforms and products, written once for all ISAs. A Machine is one of gemm/generic.h's, for its stores, with
//   kTiles                                            its row of kernels.inc
//   Acc dot_words(Acc, Acc pair, const uint16_t* w)   acc[lane] += pair[0] * w[lane][0] + pair[1] * w[lane][1], of
//   int16 Acc broadcast_words(uint32_t)                     the same pair for every lane
//
// Transforms are sums modulo 2^16 and 2^32, on vectors of unsigned integers.
#pragma once
#include <cstdint>

#include "gemm/generic.h"
#include "winograd/run.h"

namespace fxquant {
namespace {

template <class T, int Lanes>
struct VectorOf {
  typedef T type __attribute__((vector_size(Lanes * sizeof(T)), aligned(sizeof(T)), may_alias));
};

template <class Vector>
FXQUANT_INLINE Vector load_vector(const void* p) {
  return *static_cast<const Vector*>(p);
}

template <class Vector>
FXQUANT_INLINE void store_vector(void* p, const Vector& v) {
  *static_cast<Vector*>(p) = v;
}

// B d
template <class Words>
FXQUANT_INLINE void transform_input(const Words (&d)[kPatch], Words (&v)[kPatch]) {
  const Words even = d[4] - (d[2] << 2), odd = d[3] - (d[1] << 2);
  const Words outer = d[4] - d[2], twice = (d[3] - d[1]) << 1;
  v[0] = ((d[0] - d[2]) << 2) + outer;
  v[1] = even + odd;
  v[2] = even - odd;
  v[3] = outer + twice;
  v[4] = outer - twice;
  v[5] = d[5] - d[3] - (twice << 1);
}

// A m
template <class Sums>
FXQUANT_INLINE void transform_output(const Sums (&m)[kPatch], Sums (&y)[kTile]) {
  const Sums near = m[1] + m[2], near_apart = m[1] - m[2], far = m[3] + m[4], far_apart = m[3] - m[4];
  y[0] = m[0] + (near << 2) + far;
  y[1] = (near_apart << 1) + far_apart;
  y[2] = near + far;
  y[3] = near_apart + (far_apart << 1) + m[5];
}

template <class Machine>
class Winograd {
 public:
  static void transform(const WinogradBlock& block, int64_t begin, int64_t end) {
    const int64_t channels = block.conv->x.c, tile_words = words_of_tile(channels);
    for (int64_t group = 0; group < block.groups; ++group) {
      const int64_t first = block.group_begin(group), tiles = block.group_begin(group + 1) - first;
      for (int64_t tile = 0; tile < tiles; ++tile) {
        if (first + tile < begin || first + tile >= end) continue;
        const uint8_t* pixels[kPositions];
        find_pixels(block, block.first + first + tile, pixels);
        uint16_t* to = block.inputs + first * tile_words + tile * kChunk;
        const int64_t position_stride = chunks_of(channels) * tiles * kChunk;
        int64_t c = 0;
        for (; c + kChunk <= channels; c += kChunk) transform_chunk<kChunk>(pixels, c, to + c * tiles, position_stride);
        if (c < channels) transform_chunk<kChunk / 2>(pixels, c, to + c * tiles, position_stride);
      }
    }
  }

  static void multiply(const WinogradBlock& block, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t group = i % block.groups;
      const Panel panel = panel_at(*block.conv->packed, i / block.groups);
      if (panel.vectors == 1) {
        multiply_group<1>(block, group, panel);
      } else {
        multiply_group<Machine::kVectors>(block, group, panel);
      }
    }
  }

 private:
  using Acc = typename Machine::Acc;
  using Sums = typename VectorOf<uint32_t, Machine::kLanes>::type;
  static constexpr int kTiles = Machine::kTiles, kLanes = Machine::kLanes;
  static constexpr int64_t kColumns = Machine::kVectors * kLanes;

  struct Tile {
    int64_t n, h, w;  // of its first output
  };
  static Tile tile_at(const WinogradBlock& block, int64_t tile) {
    return {tile / block.tiles_w / block.tiles_h, tile / block.tiles_w % block.tiles_h * kTile,
            tile % block.tiles_w * kTile};
  }

  // Where the inputs of a tile lie; outside of the image at a pixel of the zero point.
  static void find_pixels(const WinogradBlock& block, int64_t index, const uint8_t* (&pixels)[kPositions]) {
    const Conv& conv = *block.conv;
    const Tile tile = tile_at(block, index);
    const int64_t top = tile.h - conv.geometry.pad_top, left = tile.w - conv.geometry.pad_left;
    for (int64_t i = 0; i < kPatch; ++i) {
      for (int64_t j = 0; j < kPatch; ++j) {
        const int64_t h = top + i, w = left + j;
        const bool inside = h >= 0 && h < conv.x.h && w >= 0 && w < conv.x.w;
        pixels[i * kPatch + j] = inside ? conv.x.at(tile.n, h, w) : block.zeros;
      }
    }
  }

  template <int Channels>
  static FXQUANT_INLINE void transform_chunk(const uint8_t* const (&pixels)[kPositions], int64_t channel, uint16_t* to,
                                             int64_t position_stride) {
    using Bytes = typename VectorOf<uint8_t, Channels>::type;
    using Words = typename VectorOf<uint16_t, Channels>::type;
    Words rows[kPatch][kPatch];
    unroll<kPatch>([&](auto j) FXQUANT_UNROLLED {
      Words d[kPatch], v[kPatch];
      unroll<kPatch>([&](auto i) FXQUANT_UNROLLED {
        d[i] = __builtin_convertvector(load_vector<Bytes>(pixels[i * kPatch + j] + channel), Words);
      });
      transform_input(d, v);
      unroll<kPatch>([&](auto i) FXQUANT_UNROLLED { rows[i][j] = v[i]; });
    });
    unroll<kPatch>([&](auto i) FXQUANT_UNROLLED {
      Words v[kPatch];
      transform_input(rows[i], v);
      unroll<kPatch>([&](auto j) FXQUANT_UNROLLED { store_vector(to + (i * kPatch + j) * position_stride, v[j]); });
    });
  }

  static Panel panel_at(const PackedHeader& header, int64_t index) {
    const Panels panels = winograd_panels(header);
    const uint8_t* packed = header.panels() + index * panels.bytes;
    Panel panel = panel_of<Machine>(header, packed, panels.vectors(index), header.out_channels - index * kColumns);
    panel.column = index * kColumns;
    return panel;
  }

  template <int Vectors>
  static void multiply_group(const WinogradBlock& block, int64_t group, const Panel& panel) {
    alignas(64) uint32_t products[kPositions * kTiles * Vectors * kLanes];
    const int64_t channels = block.conv->x.c, first = block.group_begin(group);
    const int64_t tiles = block.group_begin(group + 1) - first;
    const uint16_t* inputs = block.inputs + first * words_of_tile(channels);
    const uint16_t* weights = reinterpret_cast<const uint16_t*>(panel.weights);
    const auto multiply = product_of_tiles<Vectors>(tiles, std::make_integer_sequence<int, kTiles>{});
    for (int64_t p = 0; p < kPositions; ++p) {
      multiply(inputs, weights, channels / 2, products + p * tiles * Vectors * kLanes);
      inputs += chunks_of(channels) * tiles * kChunk;
      weights += channels * Vectors * kLanes;
    }
    for (int64_t tile = 0; tile < tiles; ++tile) {
      write_tile<Vectors>(block, block.first + first + tile, products + tile * Vectors * kLanes,
                          tiles * Vectors * kLanes, panel);
    }
  }

  // products[tile][vector] of one position: `pairs` pairs of channels.
  template <int Tiles, int Vectors>
  static void product(const uint16_t* inputs, const uint16_t* weights, int64_t pairs, uint32_t* products) {
    Acc acc[Tiles][Vectors];
    unroll<Tiles>([&](auto t)
                      FXQUANT_UNROLLED { unroll<Vectors>([&](auto v) FXQUANT_UNROLLED { acc[t][v] = Acc{}; }); });
    const auto step = [&](int64_t pair) FXQUANT_UNROLLED {
      unroll<Tiles>([&](auto t) FXQUANT_UNROLLED {
        const Acc x =
            Machine::broadcast_words(load_step(reinterpret_cast<const uint8_t*>(inputs + t * kChunk + 2 * pair)));
        unroll<Vectors>(
            [&](auto v) FXQUANT_UNROLLED { acc[t][v] = Machine::dot_words(acc[t][v], x, weights + 2 * v * kLanes); });
      });
      weights += 2 * Vectors * kLanes;
    };
    for (; pairs >= kChunk / 2; pairs -= kChunk / 2, inputs += Tiles * kChunk) {
      for (int64_t pair = 0; pair < kChunk / 2; ++pair) step(pair);
    }
    for (int64_t pair = 0; pair < pairs; ++pair) step(pair);
    unroll<Tiles>([&](auto t) FXQUANT_UNROLLED {
      unroll<Vectors>([&](auto v) FXQUANT_UNROLLED { store_vector(products + (t * Vectors + v) * kLanes, acc[t][v]); });
    });
  }

  using Product = void (*)(const uint16_t*, const uint16_t*, int64_t, uint32_t*);
  template <int Vectors, int... Tiles>
  static Product product_of_tiles(int64_t tiles, std::integer_sequence<int, Tiles...>) {
    static constexpr Product products[] = {product<Tiles + 1, Vectors>...};
    return products[tiles - 1];
  }

  // bias + (A m A') / (f f') of one vector of channels: the accumulators of 16 pixels.
  template <int Vectors>
  static FXQUANT_INLINE void sum_tile(const uint32_t* products, int64_t position_stride, const int32_t* bias, int v,
                                      Acc (&acc)[kTile * kTile][Vectors]) {
    constexpr uint32_t kNinth = 954437177;  // 9 * kNinth = 1 modulo 2^32
    constexpr int kShift[kTile] = {3, 2, 1, 1};
    using Signed = typename VectorOf<int32_t, kLanes>::type;
    Sums rows[kTile][kPatch];
    unroll<kPatch>([&](auto j) FXQUANT_UNROLLED {
      Sums m[kPatch], y[kTile];
      unroll<kPatch>([&](auto i)
                         FXQUANT_UNROLLED { m[i] = load_vector<Sums>(products + (i * kPatch + j) * position_stride); });
      transform_output(m, y);
      unroll<kTile>([&](auto i) FXQUANT_UNROLLED { rows[i][j] = y[i]; });
    });
    unroll<kTile>([&](auto i) FXQUANT_UNROLLED {
      Sums y[kTile];
      transform_output(rows[i], y);
      unroll<kTile>([&](auto j) FXQUANT_UNROLLED {
        const Signed sum = reinterpret_cast<Signed>(y[j] * kNinth) >> (kShift[i] + kShift[j]);
        acc[i * kTile + j][v] = reinterpret_cast<Acc>(sum + load_vector<Signed>(bias));
      });
    });
  }

  template <int Vectors>
  static void write_tile(const WinogradBlock& block, int64_t index, const uint32_t* products, int64_t position_stride,
                         const Panel& panel) {
    Acc acc[kTile * kTile][Vectors];
    unroll<Vectors>([&](auto v) FXQUANT_UNROLLED {
      sum_tile<Vectors>(products + v * kLanes, position_stride, panel.bias + v * kLanes, v, acc);
    });
    const Conv& conv = *block.conv;
    const Tile tile = tile_at(block, index);
    const int64_t width = conv.y.w - tile.w < kTile ? conv.y.w - tile.w : kTile;
    for (int64_t i = 0; i < kTile && tile.h + i < conv.y.h; ++i) {
      uint8_t* y[kTile] = {};
      const uint8_t* residual[kTile] = {};
      for (int64_t j = 0; j < width; ++j) {
        y[j] = conv.y.at(tile.n, tile.h + i, tile.w + j);
        if (conv.residual.data) residual[j] = conv.residual.at(tile.n, tile.h + i, tile.w + j);
      }
      write_row<Vectors>(acc + i * kTile, width, y, residual, panel);
    }
  }

  template <int Vectors>
  static FXQUANT_INLINE void write_row(const Acc (*acc)[Vectors], int64_t width, uint8_t* const* y,
                                       const uint8_t* const* residual, const Panel& panel) {
    if (width == kTile) {
      return store_tile<Machine, kTile, Vectors, false>(reinterpret_cast<const Acc(&)[kTile][Vectors]>(*acc), y,
                                                        residual, panel);
    }
    for (int64_t j = 0; j < width; ++j) {
      store_tile<Machine, 1, Vectors, false>(reinterpret_cast<const Acc(&)[1][Vectors]>(acc[j]), y + j, residual + j,
                                             panel);
    }
  }
};

}  // namespace
}  // namespace fxquant
