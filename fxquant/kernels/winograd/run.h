// How winograd.cc calls an ISA's kernels: a block of tiles at a time, first all its inputs, then all its outputs.
#pragma once
#include <cstdint>

#include "conv/conv.h"
#include "gemm/pack.h"

namespace fxquant {
namespace {

constexpr int kTile = 4, kPatch = 6, kPositions = kPatch * kPatch;
constexpr int64_t kChunk = 32;  // channels that lie together in the transformed inputs

[[maybe_unused]] int64_t chunks_of(int64_t channels) { return (channels + kChunk - 1) / kChunk; }

// int16 of one transformed tile.
[[maybe_unused]] int64_t words_of_tile(int64_t channels) { return kPositions * chunks_of(channels) * kChunk; }

// Its rows are the tiles of a group; a step takes two channels, so four bytes of a column as in `bytes`.
PanelLayout winograd_layout(Isa isa) {
  switch (isa) {
#define FXQUANT_WINOGRAD_KERNEL(name, tiles, lanes, vectors) \
  case Isa::name:                                            \
    return {tiles, lanes, vectors, WeightLayout::bytes};
#include "winograd/kernels.inc"
#undef FXQUANT_WINOGRAD_KERNEL
    default:
      return {1, 16, 1, WeightLayout::bytes};
  }
}

[[maybe_unused]] Panels winograd_panels(const PackedHeader& header) {
  return Panels(winograd_layout(header.isa), kPositions * header.in_channels / 2, header.out_channels);
}

}  // namespace

// Tiles [first, first + count) of all images, cut into groups as even as possible. A group of t tiles holds its
// transformed inputs as [position][chunk][t][kChunk], groups one after the other.
struct WinogradBlock {
  const Conv* conv;
  int64_t tiles_h, tiles_w;
  int64_t first, count, groups;
  uint16_t* inputs;
  const uint8_t* zeros;  // a pixel of the zero point

  int64_t group_begin(int64_t group) const { return count * group / groups; }
};

// transform: B d B' of tiles [begin, end) of the block. multiply: the outputs of [begin, end) of its panels times
// groups, panel by panel.
struct WinogradKernels {
  void (*transform)(const WinogradBlock& block, int64_t begin, int64_t end);
  void (*multiply)(const WinogradBlock& block, int64_t begin, int64_t end);
};

#define FXQUANT_WINOGRAD_KERNEL(isa, ...) extern const WinogradKernels winograd_##isa;
#include "winograd/kernels.inc"
#undef FXQUANT_WINOGRAD_KERNEL

// The kernels of an ISA, or null if it has none.
const WinogradKernels* winograd_kernels(Isa isa);

}  // namespace fxquant
