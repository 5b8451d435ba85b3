// How winograd.cc calls an ISA's kernels: a block of tiles at a time, first all its inputs, then all its outputs.
#pragma once
#include <cstdint>

#include "conv/conv.h"
#include "gemm/pack.h"

namespace fxquant {
namespace {

constexpr int kTile = 4, kPatch = 6, kPositions = kPatch * kPatch;
constexpr int64_t kChunk = 32;  // words that lie together in the transformed inputs
constexpr int64_t kFewestChannels = 16;

// From one position of what is transformed to the next: a line more than needed, since distances that are powers of
// two would put all positions into one set of a cache.
[[maybe_unused]] constexpr int64_t position_stride(int64_t words) { return words + 32; }

// int16 between positions of the inputs of a group.
[[maybe_unused]] int64_t inputs_stride(int64_t tiles, int64_t channels) {
  return position_stride(tiles * ((channels + kChunk - 1) / kChunk) * kChunk);
}

// int16 of the inputs of so many tiles, in so many groups.
[[maybe_unused]] int64_t inputs_words(int64_t tiles, int64_t groups, int64_t channels) {
  const int64_t gap = inputs_stride(0, channels);
  return kPositions * (inputs_stride(tiles, channels) - gap + groups * gap);
}

// int16 between positions of the weights of a panel.
[[maybe_unused]] int64_t weights_stride(int64_t channels, int64_t columns) {
  return position_stride(channels * columns);
}

}  // namespace

// Tiles [first, first + count) of all images, cut into groups as even as possible. A group of t tiles holds its
// transformed inputs as [position][chunk][t][kChunk], groups one after the other.
struct WinogradBlock {
  const Conv* conv;
  int64_t tiles_h, tiles_w;
  int64_t first, count, groups;
  uint16_t* inputs;
  Span next;  // of the weights that are wanted next, this block's share

  int64_t group_begin(int64_t group) const { return count * group / groups; }
  int64_t tiles_of_group(int64_t group) const { return group_begin(group + 1) - group_begin(group); }
  uint16_t* group_inputs(int64_t group) const { return inputs + inputs_words(group_begin(group), group, conv->x.c); }
};

// transform: B d B' of tiles [begin, end) of the block. multiply: the outputs of [begin, end) of its panels times
// groups, panel by panel, with G g G' of a panel in `weights`.
struct WinogradKernels {
  int tiles;  // of a group, at most
  void (*transform)(const WinogradBlock& block, int64_t begin, int64_t end);
  void (*multiply)(const WinogradBlock& block, int64_t begin, int64_t end, uint16_t* weights);
};

#define FXQUANT_WINOGRAD_KERNEL(isa, ...) extern const WinogradKernels winograd_##isa;
#include "winograd/kernels.inc"
#undef FXQUANT_WINOGRAD_KERNEL

}  // namespace fxquant
