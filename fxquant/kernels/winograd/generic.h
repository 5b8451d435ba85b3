// The transforms and products, written once for all ISAs. A Machine is one of gemm/generic.h's, for its stores, with
//   kTiles                                            how many tiles a group has, at most
//   kStepBytes, kWide                                 of its packed weights; kWide: they are int16, see pack.h
//   Acc broadcast_words(uint32_t)                     the same pair of int16 for every lane
//   Acc dot_words(Acc, Acc pair, const uint16_t* w)   acc[lane] += pair[0] * w[lane][0] + pair[1] * w[lane][1]
//
// Transforms are sums modulo 2^16 and 2^32, on vectors of unsigned integers. Words are made of bytes by masks and
// shifts: of four channels, a pair holds 0 and 2, another one 1 and 3. Channels come in spans, the even pairs of a span
// before the odd ones.
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
  const Words even = (d[2] << 2) - d[4], odd = (d[1] << 2) - d[3];
  const Words outer = d[4] - d[2], twice = (d[3] - d[1]) << 1;
  v[0] = ((d[0] - d[2]) << 2) + outer;
  v[1] = even + odd;
  v[2] = even - odd;
  v[3] = outer + twice;
  v[4] = outer - twice;
  v[5] = d[5] - d[3] - (twice << 1);
}

// G g
template <class Words>
FXQUANT_INLINE void transform_weights(const Words (&g)[3], Words (&u)[kPatch]) {
  const Words outer = g[0] + g[2], far = g[0] + (g[2] << 2), twice = g[1] << 1;
  u[0] = (g[0] << 2) + (g[0] << 1);
  u[1] = outer + g[1];
  u[2] = outer - g[1];
  u[3] = far + twice;
  u[4] = far - twice;
  u[5] = (g[2] << 2) + (g[2] << 1);
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

// Calls body(Index<size>{}, first) for the spans that `channels` are cut into: as many of 4 * Lanes as there are, then
// what is left.
template <int Lanes, class Body>
FXQUANT_INLINE void for_each_span(int64_t channels, const Body& body) {
  constexpr int kLargest = 4 * Lanes;
  int64_t first = 0;
  for (; first + kLargest <= channels; first += kLargest) body(Index<kLargest>{}, first);
  if constexpr (kLargest > 32) {
    if (first + 32 <= channels) {
      body(Index<32>{}, first);
      first += 32;
    }
  }
  if (first < channels) body(Index<16>{}, first);
}

template <class Machine>
class Winograd {
 public:
  static void transform(const WinogradBlock& block, int64_t begin, int64_t end) {
    const int64_t channels = block.conv->x.c;
    for (int64_t group = 0; group < block.groups; ++group) {
      const int64_t first = block.group_begin(group), tiles = block.tiles_of_group(group);
      for (int64_t tile = 0; tile < tiles; ++tile) {
        if (first + tile < begin || first + tile >= end) continue;
        const Patch patch(block, tile_at(block, block.first + first + tile));
        uint16_t* to = block.group_inputs(group) + tile * kChunk;
        for_each_span<kLanes>(channels, [&](auto size, int64_t channel) {
          transform_span<size>(patch, channel, to, tiles, inputs_stride(tiles, channels));
        });
      }
    }
  }

  static void multiply(const WinogradBlock& block, int64_t begin, int64_t end, uint16_t* weights) {
    const PackedHeader& header = *block.conv->packed;
    const int64_t all = block.groups * panels_of(header).per_group;
    for (int64_t i = begin; i < end; ++i) {
      const Panel panel = panel_at(header, i / block.groups);
      const int64_t next = block.next.bytes * i / all;
      const Ahead ahead = {block.next.data + next, (block.next.bytes * (i + 1) / all - next) / kPositions, 0};
      const bool new_panel = i == begin || i % block.groups == 0;
      if (panel.vectors == 1) {
        if (new_panel) transform_panel<1>(panel, header.in_channels, weights);
        multiply_group<1>(block, i % block.groups, panel, weights, ahead);
      } else {
        if (new_panel) transform_panel<Machine::kVectors>(panel, header.in_channels, weights);
        multiply_group<Machine::kVectors>(block, i % block.groups, panel, weights, ahead);
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

  // Where the inputs of a tile lie. Outside of the image all channels of a pixel are the zero point, at one place.
  class Patch {
   public:
    Patch(const WinogradBlock& block, const Tile& tile) {
      const Conv& conv = *block.conv;
      const int64_t top = tile.h - conv.geometry.pad_top, left = tile.w - conv.geometry.pad_left;
      __builtin_memset(zeros_, conv.packed->x_zero_point, sizeof zeros_);
      const int64_t origin = conv.x.at(tile.n, top, left) - zeros_;
      for (int64_t i = 0; i < kPatch; ++i) {
        const int64_t row = top + i >= 0 && top + i < conv.x.h ? -1 : 0;
        for (int64_t j = 0; j < kPatch; ++j) {
          const int64_t inside = left + j >= 0 && left + j < conv.x.w ? row : 0;
          inside_[i * kPatch + j] = inside;
          offset_[i * kPatch + j] = (origin + i * conv.x.stride_h + j * conv.x.stride_w) & inside;
        }
      }
    }
    const uint8_t* at(int pixel, int64_t channel) const { return zeros_ + offset_[pixel] + (channel & inside_[pixel]); }

   private:
    int64_t offset_[kPositions], inside_[kPositions];
    uint8_t zeros_[4 * kLanes];
  };

  // `to` is the tile's place in the first chunk of the group.
  template <int Channels>
  static FXQUANT_INLINE void transform_span(const Patch& patch, int64_t channel, uint16_t* to, int64_t tiles,
                                            int64_t stride) {
    using Words = typename VectorOf<uint16_t, Channels / 2>::type;
    unroll<2>([&](auto odd) FXQUANT_UNROLLED {
      Words rows[kPatch][kPatch];
      unroll<kPatch>([&](auto j) FXQUANT_UNROLLED {
        Words d[kPatch], v[kPatch];
        unroll<kPatch>([&](auto i) FXQUANT_UNROLLED {
          const Words both = load_vector<Words>(patch.at(i * kPatch + j, channel));
          d[i] = odd ? both >> 8 : both & 255;
        });
        transform_input(d, v);
        unroll<kPatch>([&](auto i) FXQUANT_UNROLLED { rows[i][j] = v[i]; });
      });
      const int64_t word = channel + odd * Channels / 2;
      uint16_t* place = to + word / kChunk * kChunk * tiles + word % kChunk;
      unroll<kPatch>([&](auto i) FXQUANT_UNROLLED {
        Words v[kPatch];
        transform_input(rows[i], v);
        unroll<kPatch>([&](auto j) FXQUANT_UNROLLED { store_vector(place + (i * kPatch + j) * stride, v[j]); });
      });
    });
  }

  // weights[position][pair][vector][lane][2]: G g G' of a panel.
  template <int Vectors>
  static void transform_panel(const Panel& panel, int64_t channels, uint16_t* weights) {
    constexpr int64_t kPair = 2 * Vectors * kLanes, kStep = Vectors * Machine::kStepBytes;
    for_each_span<kLanes>(channels, [&](auto size, int64_t channel) {
      constexpr int64_t kSteps = static_cast<int>(size) / 4;
      for (int64_t step = 0; step < kSteps; ++step) {
        const uint8_t* from = panel.weights + (channel / 4 + step) * kStep;
        uint16_t* to = weights + (channel / 2 + step) * kPair;
        unroll<2 * Vectors>([&](auto i) FXQUANT_UNROLLED {
          constexpr int kOdd = i % 2, kVector = i / 2;
          transform_step<kOdd>(from + kVector * Machine::kStepBytes, channels / 4 * kStep,
                               to + kOdd * kSteps * kPair + kVector * 2 * kLanes,
                               weights_stride(channels, Vectors * kLanes));
        });
      }
    });
  }

  template <int Odd>
  static FXQUANT_INLINE void transform_step(const uint8_t* from, int64_t tap_stride, uint16_t* to, int64_t stride) {
    using Words = typename VectorOf<uint16_t, 2 * kLanes>::type;
    Words rows[kPatch][3];
    unroll<3>([&](auto x) FXQUANT_UNROLLED {
      Words g[3], u[kPatch];
      unroll<3>([&](auto y) FXQUANT_UNROLLED { g[y] = weight_words<Odd>(from + (y * 3 + x) * tap_stride); });
      transform_weights(g, u);
      unroll<kPatch>([&](auto i) FXQUANT_UNROLLED { rows[i][x] = u[i]; });
    });
    unroll<kPatch>([&](auto i) FXQUANT_UNROLLED {
      Words u[kPatch];
      transform_weights(rows[i], u);
      unroll<kPatch>([&](auto j) FXQUANT_UNROLLED { store_vector(to + (i * kPatch + j) * stride, u[j]); });
    });
  }

  // Channels 0 and 2 of a step of four, or 1 and 3.
  template <int Odd>
  static FXQUANT_INLINE typename VectorOf<uint16_t, 2 * kLanes>::type weight_words(const uint8_t* step) {
    using Words = typename VectorOf<uint16_t, 2 * kLanes>::type;
    using Signed = typename VectorOf<int16_t, 2 * kLanes>::type;
    if constexpr (Machine::kWide) return load_vector<Words>(step + Odd * sizeof(Words));
    const Words both = load_vector<Words>(step);
    return reinterpret_cast<Words>(reinterpret_cast<Signed>(Odd ? both : both << 8) >> 8);
  }

  static Panel panel_at(const PackedHeader& header, int64_t index) {
    const Panels panels = panels_of(header);
    const uint8_t* packed = header.panels() + index * panels.bytes;
    Panel panel = panel_of<Machine>(header, packed, panels.vectors(index), header.out_channels - index * kColumns);
    panel.column = index * kColumns;
    return panel;
  }

  template <int Vectors>
  static void multiply_group(const WinogradBlock& block, int64_t group, const Panel& panel, const uint16_t* weights,
                             Ahead ahead) {
    alignas(64) uint32_t products[kPositions * position_stride(kTiles * Vectors * kLanes)];
    const int64_t channels = block.conv->x.c, first = block.group_begin(group), tiles = block.tiles_of_group(group);
    const int64_t position = position_stride(tiles * Vectors * kLanes);
    const uint16_t* inputs = block.group_inputs(group);
    const auto multiply = product_of_tiles<Vectors>(tiles, std::make_integer_sequence<int, kTiles>{});
    for (int64_t p = 0; p < kPositions; ++p) {
      multiply(inputs, weights, channels / 2, products + p * position);
      for (int64_t line = 0; line < ahead.step; line += 64) __builtin_prefetch(ahead.at + line, 0, 2);
      ahead.at += ahead.step;
      inputs += inputs_stride(tiles, channels);
      weights += weights_stride(channels, Vectors * kLanes);
    }
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const uint32_t* of_tile = products + tile * Vectors * kLanes;
      write_tile<Vectors>(*block.conv, tile_at(block, block.first + first + tile), of_tile, position, panel);
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
  static FXQUANT_INLINE void sum_tile(const uint32_t* products, int64_t stride, const int32_t* bias, int v,
                                      Acc (&acc)[kTile * kTile][Vectors]) {
    constexpr uint32_t kNinth = 954437177;  // 9 * kNinth = 1 modulo 2^32
    constexpr int kShift[kTile] = {3, 2, 1, 1};
    using Signed = typename VectorOf<int32_t, kLanes>::type;
    Sums rows[kTile][kPatch];
    unroll<kPatch>([&](auto j) FXQUANT_UNROLLED {
      Sums m[kPatch], y[kTile];
      unroll<kPatch>([&](auto i) FXQUANT_UNROLLED { m[i] = load_vector<Sums>(products + (i * kPatch + j) * stride); });
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
  static void write_tile(const Conv& conv, const Tile& tile, const uint32_t* products, int64_t stride,
                         const Panel& panel) {
    Acc acc[kTile * kTile][Vectors];
    unroll<Vectors>([&](auto v) FXQUANT_UNROLLED {
      sum_tile<Vectors>(products + v * kLanes, stride, panel.bias + v * kLanes, v, acc);
    });
    const int64_t width = conv.y.w - tile.w < kTile ? conv.y.w - tile.w : kTile;
    for (int64_t i = 0; i < kTile && tile.h + i < conv.y.h; ++i) {
      const uint8_t* residual = conv.residual.data ? conv.residual.at(tile.n, tile.h + i, tile.w) : nullptr;
      uint8_t* y = conv.y.at(tile.n, tile.h + i, tile.w);
      const RowRun pixels = {nullptr, residual, y, 0, residual ? conv.residual.stride_w : 0, conv.y.stride_w, width};
      write_pixels<Vectors>(acc + i * kTile, pixels, panel);
    }
  }

  template <int Vectors>
  static FXQUANT_INLINE void write_pixels(const Acc (*acc)[Vectors], const RowRun& pixels, const Panel& panel) {
    if (pixels.count == kTile) {
      return store_tile<Machine, kTile, Vectors>(reinterpret_cast<const Acc(&)[kTile][Vectors]>(*acc), pixels, panel);
    }
    for (int64_t j = 0; j < pixels.count; ++j) {
      store_tile<Machine, 1, Vectors>(reinterpret_cast<const Acc(&)[1][Vectors]>(acc[j]), pixels.from(j), panel);
    }
  }
};

}  // namespace
}  // namespace fxquant
