#include "depthwise/depthwise.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "base/packed.h"
#include "base/parallel.h"
#include "depthwise/pack.h"

namespace fxquant {

#define FXQUANT_DEPTHWISE_KERNEL(isa, name, kernel, stride) void depthwise_##name##_##isa(const DepthwiseTask& task);
#include "depthwise/kernels.inc"
#undef FXQUANT_DEPTHWISE_KERNEL

namespace {

constexpr DepthwiseKernelRow kKernels[] = {
#define FXQUANT_DEPTHWISE_KERNEL(isa, name, kernel, stride) {#name, Isa::isa, depthwise_##name##_##isa, kernel, stride},
#include "depthwise/kernels.inc"
#undef FXQUANT_DEPTHWISE_KERNEL
};

// Rows of a task: few enough that its input stays in the L2 cache while the next blocks of channels read it again, and
// that there are tasks for all threads; a multiple of 4, since kernels compute up to 4 rows together.
constexpr int64_t kBandBytes = 256 * 1024;
constexpr int64_t kTasksPerThread = 3;

// Smaller floats convert to int32, whatever the rounding of their computation.
constexpr float kConvertible = 1 << 30;

struct Partition {
  int64_t widest, blocks, band, bands;  // all blocks but the last are the widest
};

// Output rows of every image.
struct Rows {
  int64_t begin, end;
};

Partition partition(const PackedDepthwise& layer, const Nhwc<const uint8_t>& x, const Nhwc<uint8_t>& y, Rows rows,
                    int threads) {
  Partition p;
  p.widest = depthwise_block_width(layer.isa, std::numeric_limits<int32_t>::max());
  p.blocks = (layer.channels + p.widest - 1) / p.widest;
  p.band = kBandBytes / (x.w * x.c * layer.geometry.stride_h + 1);
  const int64_t wanted = threads > 1 ? kTasksPerThread * threads / (p.blocks * y.n) + 1 : 1;
  const int64_t shared = (rows.end - rows.begin + wanted - 1) / wanted;
  if (shared < p.band) p.band = shared;
  p.band = (p.band + 3) / 4 * 4;
  if (p.band < 4) p.band = 4;
  p.bands = (rows.end - rows.begin + p.band - 1) / p.band;
  return p;
}

template <class T>
Nhwc<T> from(const Nhwc<T>& t, int64_t image, int64_t channel) {
  Nhwc<T> part = t;
  if (t.data) part.data = t.at(image, 0, 0) + channel;
  return part;
}

void run_tasks(const PackedDepthwise& layer, const Nhwc<const uint8_t>& x, const Nhwc<const uint8_t>& residual,
               const Nhwc<uint8_t>& y, Rows rows, int threads) {
  if (y.n == 0 || layer.channels == 0) return;
  const DepthwiseKernel kernel = depthwise_kernel(layer.geometry, layer.isa).run;
  const Partition p = partition(layer, x, y, rows, threads);
  const uint8_t* blocks = reinterpret_cast<const uint8_t*>(&layer + 1);
  const int64_t per_channel = depthwise_bytes_per_channel(layer.geometry);
  parallel_for(y.n * p.bands * p.blocks, threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t c = i % p.blocks * p.widest, band = i / p.blocks % p.bands, n = i / p.blocks / p.bands;
      const int32_t width = depthwise_block_width(layer.isa, layer.channels - c);
      const int64_t left = layer.channels - c, row = rows.begin + band * p.band;
      kernel({&layer, blocks + c * per_channel, width, static_cast<int32_t>(left < width ? left : width), from(x, n, c),
              from(residual, n, c), from(y, n, c), row, row + p.band < rows.end ? row + p.band : rows.end});
    }
  });
}

// Sets `clamps` of the header if a product may be too large for int32.
bool pack_block(const DepthwiseLayer& layer, PackedDepthwise& header, int64_t first, int32_t width, uint8_t* block) {
  const DepthwiseGeometry& g = header.geometry;
  int32_t* bias = reinterpret_cast<int32_t*>(block);
  float* multiplier = reinterpret_cast<float*>(block) + width;
  int8_t* quads = reinterpret_cast<int8_t*>(block) + 8 * width;
  std::memset(block, 0, static_cast<size_t>(width * depthwise_bytes_per_channel(g)));
  for (int64_t slot = 0; slot < width; ++slot) {
    const int64_t c = first + depthwise_channel_of_slot(slot, width);
    if (c >= layer.channels) continue;
    const int8_t* weight = layer.weight + c * g.kernel_h * g.kernel_w;
    int64_t sum = 0, positive = 0;
    for (int32_t i = 0; i < g.kernel_h; ++i) {
      for (int32_t j = 0; j < g.kernel_w; ++j) {
        const int8_t w = header.transposed ? weight[j * g.kernel_h + i] : weight[i * g.kernel_w + j];
        sum += w;
        positive += w > 0 ? w : 0;
        quads[((i / 4 * g.kernel_w + j) * width + slot) * 4 + i % 4] = w;
      }
    }
    const int64_t folded = layer.bias[c] - layer.x_zero_point * sum;
    const int64_t least = folded + 255 * (sum - positive), greatest = folded + 255 * positive;
    if (least < std::numeric_limits<int32_t>::min() || greatest > std::numeric_limits<int32_t>::max()) return false;
    bias[slot] = static_cast<int32_t>(folded + activation_offset(header.isa) * sum);  // within the same bounds
    multiplier[slot] = layer.multiplier[c];
    const auto largest = static_cast<float>(greatest > -least ? greatest : -least);
    if (!(largest * std::fabs(multiplier[slot]) < kConvertible)) header.clamps = 1;
  }
  return true;
}

}  // namespace

const DepthwiseKernelRow& depthwise_kernel(const DepthwiseGeometry& geometry, Isa isa) {
  const DepthwiseKernelRow* row = kKernels;
  while (row->isa != isa || !row->accepts(geometry)) ++row;
  return *row;
}

int64_t depthwise_packed_bytes(const DepthwiseLayer& layer, Isa isa) {
  const DepthwiseGeometry& g = layer.geometry;
  int64_t padded = 0;
  while (padded < layer.channels) padded += depthwise_block_width(isa, layer.channels - padded);
  const int64_t per_channel = depthwise_bytes_per_channel(depthwise_transposes(g) ? depthwise_transposed(g) : g);
  return static_cast<int64_t>(sizeof(PackedDepthwise)) + padded * per_channel;
}

bool depthwise_pack(const DepthwiseLayer& layer, Isa isa, void* packed) {
  PackedDepthwise& header = *static_cast<PackedDepthwise*>(packed);
  std::memset(packed, 0, sizeof(PackedDepthwise));
  header.size = depthwise_packed_bytes(layer, isa);
  header.magic = kDepthwiseMagic;
  header.isa = isa;
  header.channels = layer.channels;
  header.transposed = depthwise_transposes(layer.geometry);
  header.geometry = header.transposed ? depthwise_transposed(layer.geometry) : layer.geometry;
  header.x_zero_point = layer.x_zero_point;
  header.has_residual = layer.has_residual;
  header.clamps = layer.has_residual;
  header.has_table = layer.table != nullptr;
  header.output = layer.output;
  header.residual = layer.residual;
  std::memset(header.outside, layer.x_zero_point, sizeof(header.outside));
  if (layer.table) std::memcpy(header.table, layer.table, sizeof(header.table));
  uint8_t* block = static_cast<uint8_t*>(packed) + sizeof(PackedDepthwise);
  for (int64_t c = 0; c < layer.channels;) {
    const int32_t width = depthwise_block_width(isa, layer.channels - c);
    if (!pack_block(layer, header, c, width, block)) return false;
    block += width * depthwise_bytes_per_channel(header.geometry);
    c += width;
  }
  header.checksum = header_checksum(header);
  return true;
}

void depthwise_run(const PackedDepthwise& packed, const Nhwc<const uint8_t>& x, const Nhwc<const uint8_t>& residual,
                   const Nhwc<uint8_t>& y, int threads, int64_t row_begin, int64_t row_end) {
  if (packed.transposed) {
    run_tasks(packed, depthwise_transposed(x), depthwise_transposed(residual), depthwise_transposed(y), {0, y.w},
              threads);
  } else {
    run_tasks(packed, x, residual, y, {row_begin, row_end < y.h ? row_end : y.h}, threads);
  }
}

}  // namespace fxquant
