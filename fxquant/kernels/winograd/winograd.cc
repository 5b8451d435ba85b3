#include "winograd/winograd.h"

#include <algorithm>
#include <cstring>

#include "base/parallel.h"
#include "winograd/run.h"

namespace fxquant {
namespace {

// The transformed inputs of a block should lie in L2 beside a panel.
constexpr int64_t kBlockBytes = 256 * 1024;
// Threads are worth their fork and join from this many products each.
constexpr int64_t kThreadWork = 1 << 18;

int64_t tiles_of(int64_t size) { return (size + kTile - 1) / kTile; }

int64_t all_tiles(const Nhwc<uint8_t>& y) { return y.n * tiles_of(y.h) * tiles_of(y.w); }

int64_t block_count(const Conv& conv) {
  const int64_t bytes = all_tiles(conv.y) * words_of_tile(conv.x.c) * 2;
  return (bytes + kBlockBytes - 1) / kBlockBytes;
}

int64_t pixel_bytes(const Conv& conv) { return chunks_of(conv.x.c) * 64; }

int worthwhile(const Conv& conv, int threads) {
  const int64_t products = all_tiles(conv.y) * kPositions * conv.x.c * conv.y.c;
  return static_cast<int>(std::clamp<int64_t>(products / kThreadWork, 1, threads));
}

}  // namespace

const WinogradKernels* winograd_kernels(Isa isa) {
  switch (isa) {
#define FXQUANT_WINOGRAD_KERNEL(name, ...) \
  case Isa::name:                          \
    return &winograd_##name;
#include "winograd/kernels.inc"
#undef FXQUANT_WINOGRAD_KERNEL
    default:
      return nullptr;
  }
}

bool winograd_supported(Isa isa) { return winograd_kernels(isa) != nullptr; }

// In multiply-adds of bytes, of which a product of int16 is worth two and a vector instruction 64. Transforms take some
// 250 instructions for 32 inputs and as many for 16 outputs. Weights beyond the L2 cache come at 16 bytes a cycle.
bool winograd_pays(int64_t images, int64_t h, int64_t w, int64_t in_channels, int64_t out_channels) {
  constexpr int64_t kInput = 64 * 250 / 32, kOutput = 64 * 250 / 16, kCache = 1 << 20, kWeightByte = 64 / 16;
  const int64_t tiles = images * tiles_of(h) * tiles_of(w), products = kPositions * in_channels * out_channels;
  const int64_t streamed = 2 * products > kCache ? 2 * products * kWeightByte : 0;
  const int64_t transformed = tiles * (2 * products + kInput * in_channels + kOutput * out_channels) + streamed;
  return transformed < images * h * w * 9 * in_channels * out_channels;
}

int64_t winograd_scratch_size(const Conv& conv) {
  const int64_t blocks = std::max<int64_t>(block_count(conv), 1);
  return pixel_bytes(conv) + (all_tiles(conv.y) + blocks - 1) / blocks * words_of_tile(conv.x.c) * 2;
}

void run_winograd(const Conv& conv, int threads) {
  const WinogradKernels& kernels = *winograd_kernels(conv.packed->isa);
  const int64_t tiles_of_group = winograd_layout(conv.packed->isa).rows;
  const int64_t panels = winograd_panels(*conv.packed).per_group;
  const int64_t tiles = all_tiles(conv.y), blocks = block_count(conv);
  std::memset(conv.scratch, conv.packed->x_zero_point, static_cast<size_t>(pixel_bytes(conv)));
  WinogradBlock block{};
  block.conv = &conv;
  block.tiles_h = tiles_of(conv.y.h);
  block.tiles_w = tiles_of(conv.y.w);
  block.zeros = conv.scratch;
  block.inputs = reinterpret_cast<uint16_t*>(conv.scratch + pixel_bytes(conv));
  const int used = worthwhile(conv, threads);
  for (int64_t i = 0; i < blocks; ++i) {
    block.first = tiles * i / blocks;
    block.count = tiles * (i + 1) / blocks - block.first;
    block.groups = (block.count + tiles_of_group - 1) / tiles_of_group;
    parallel_for(block.count, used, [&](int64_t begin, int64_t end) { kernels.transform(block, begin, end); });
    parallel_for(block.groups * panels, used, [&](int64_t begin, int64_t end) { kernels.multiply(block, begin, end); });
  }
}

}  // namespace fxquant
