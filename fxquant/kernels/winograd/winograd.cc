#include "winograd/winograd.h"

#include <algorithm>

#include "base/parallel.h"
#include "winograd/run.h"

namespace fxquant {
namespace {

// The transformed inputs of a block should lie in L2, and still be many, since each block transforms the weights.
constexpr int64_t kBlockBytes = 768 * 1024, kBlockTiles = 64;
// Threads are worth their fork and join from this many products each.
constexpr int64_t kThreadWork = 1 << 18;
// And a block of its own for each, from so many tiles on: then none reads inputs that another one has transformed.
// Where cores share no cache, these take as long as the products.
constexpr int64_t kOwnTiles = 16;

// What an ISA has; no kernels if Winograd cannot gain there.
struct Row {
  const WinogradKernels* kernels;
  int64_t byte_cost, word_cost;
};

Row row_of(Isa isa) {
  switch (isa) {
#define FXQUANT_WINOGRAD_KERNEL(name, bytes, words) \
  case Isa::name:                                   \
    return {&winograd_##name, bytes, words};
#include "winograd/kernels.inc"
#undef FXQUANT_WINOGRAD_KERNEL
    default:
      return {nullptr, 0, 0};
  }
}

int64_t tiles_of(int64_t size) { return (size + kTile - 1) / kTile; }

int64_t all_tiles(const Nhwc<uint8_t>& y) { return y.n * tiles_of(y.h) * tiles_of(y.w); }

int64_t inputs_bytes(const Conv& conv, int64_t tiles, int64_t groups) {
  return 2 * inputs_words(tiles, groups, conv.x.c);
}

int64_t weights_bytes(const Conv& conv) {
  return 2 * kPositions * weights_stride(conv.x.c, panel_layout(conv.packed->isa).columns());
}

int64_t groups_of(const Conv& conv, int64_t tiles) {
  const int64_t most = row_of(conv.packed->isa).kernels->tiles;
  return (tiles + most - 1) / most;
}

// How the tiles are cut, for so many threads. With tiles enough each thread computes blocks of its own from beginning
// to end, in scratch of its own; else they share each block.
struct Partition {
  int threads;
  int64_t blocks, parts, tiles_of_block;
  int64_t block_bytes;  // of the inputs, a multiple of 64
};

Partition partition(const Conv& conv, int threads) {
  const int64_t tiles = all_tiles(conv.y), products = tiles * kPositions * conv.x.c * conv.y.c;
  const int64_t used = std::clamp<int64_t>(products / kThreadWork, 1, threads);
  const int64_t most = std::max(kBlockBytes, inputs_bytes(conv, kBlockTiles, 0));
  const int64_t blocks = std::max<int64_t>((inputs_bytes(conv, tiles, 0) + most - 1) / most, 1);
  const int64_t parts = tiles < used * kOwnTiles ? 1 : used, even = (blocks + parts - 1) / parts * parts;
  const int64_t tiles_of_block = (tiles + even - 1) / even;
  const int64_t bytes = inputs_bytes(conv, tiles_of_block, groups_of(conv, tiles_of_block));
  return {static_cast<int>(used), even, parts, tiles_of_block, bytes};
}

class Run {
 public:
  Run(const Conv& conv, int threads)
      : conv_(conv), kernels_(*row_of(conv.packed->isa).kernels), cut_(partition(conv, threads)) {}

  void operator()() const {
    if (cut_.parts > 1) {
      parallel_for(cut_.parts, cut_.threads, [&](int64_t begin, int64_t end) {
        for (int64_t part = begin; part < end; ++part) own_blocks(part);
      });
    } else {
      for (int64_t i = 0; i < cut_.blocks; ++i) shared_block(block_at(i, 0));
    }
  }

 private:
  WinogradBlock block_at(int64_t index, int64_t part) const {
    const int64_t tiles = all_tiles(conv_.y), next = conv_.next.bytes * index / cut_.blocks;
    WinogradBlock block;
    block.conv = &conv_;
    block.tiles_h = tiles_of(conv_.y.h);
    block.tiles_w = tiles_of(conv_.y.w);
    block.first = tiles * index / cut_.blocks;
    block.count = tiles * (index + 1) / cut_.blocks - block.first;
    block.groups = groups_of(conv_, block.count);
    block.inputs = reinterpret_cast<uint16_t*>(conv_.scratch + part * cut_.block_bytes);
    block.next = {conv_.next.data + next, conv_.next.bytes * (index + 1) / cut_.blocks - next};
    return block;
  }
  uint16_t* weights_of(int64_t thread) const {
    uint8_t* all = conv_.scratch + cut_.parts * cut_.block_bytes;
    return reinterpret_cast<uint16_t*>(all + thread * weights_bytes(conv_));
  }
  int64_t items(const WinogradBlock& block) const { return block.groups * panels_of(*conv_.packed).per_group; }

  void own_blocks(int64_t part) const {
    for (int64_t i = cut_.blocks * part / cut_.parts; i < cut_.blocks * (part + 1) / cut_.parts; ++i) {
      const WinogradBlock block = block_at(i, part);
      kernels_.transform(block, 0, block.count);
      kernels_.multiply(block, 0, items(block), weights_of(part));
    }
  }
  void shared_block(const WinogradBlock& block) const {
    const auto transform = [&](int64_t begin, int64_t end) { kernels_.transform(block, begin, end); };
    parallel_for(block.count, cut_.threads, transform);
    parallel_for(cut_.threads, cut_.threads, [&](int64_t begin, int64_t end) {
      const int64_t all = items(block);
      for (int64_t i = begin; i < end; ++i) {
        kernels_.multiply(block, all * i / cut_.threads, all * (i + 1) / cut_.threads, weights_of(i));
      }
    });
  }

  const Conv& conv_;
  const WinogradKernels& kernels_;
  const Partition cut_;
};

}  // namespace

bool winograd_fits(const Conv& conv) {
  const PackedHeader& packed = *conv.packed;
  const ConvGeometry& g = conv.geometry;
  const bool dense = packed.kernel_h == 3 && packed.kernel_w == 3 && packed.groups == 1;
  const bool by_one = g.stride_h == 1 && g.stride_w == 1 && g.dilation_h == 1 && g.dilation_w == 1;
  const bool exact = packed.bounded && !packed.gives_floats && packed.largest_sum <= INT32_MAX / 64;
  const bool columns_in_pairs = !panels_of(packed).last_half;  // the others are rare
  const bool all_rows = conv.row_begin == 0 && conv.row_end >= conv.y.h;
  return row_of(packed.isa).kernels && dense && by_one && exact && columns_in_pairs && all_rows &&
         conv.x.c % kFewestChannels == 0;
}

// In the unit of kernels.inc, of which a vector instruction is worth four for every lane. Transforms take some 160
// instructions for a vector of inputs, 280 for one of outputs and 110 for one of weights. Threads that would share a
// block share the rows of the product instead, since they need not wait for each other there.
bool winograd_pays(const Conv& conv, int threads) {
  if (!winograd_fits(conv)) return false;
  const Partition cut = partition(conv, threads);
  if (cut.parts < cut.threads) return false;
  constexpr int64_t kInput = 4 * 160, kOutput = 4 * 280, kWeight = 4 * 110;
  const Row row = row_of(conv.packed->isa);
  const int64_t tiles = all_tiles(conv.y), weights = conv.x.c * conv.y.c;
  const int64_t transforms = tiles * (kInput * conv.x.c + kOutput * conv.y.c) + cut.blocks * kWeight * weights;
  const int64_t direct = conv.y.n * conv.y.h * conv.y.w * 9 * weights;
  return transforms + row.word_cost * tiles * kPositions * weights < row.byte_cost * direct;
}

int64_t winograd_scratch_size(const Conv& conv, int threads) {
  const Partition cut = partition(conv, threads);
  return cut.parts * cut.block_bytes + cut.threads * weights_bytes(conv);
}

void run_winograd(const Conv& conv, int threads) { Run(conv, threads)(); }

}  // namespace fxquant
