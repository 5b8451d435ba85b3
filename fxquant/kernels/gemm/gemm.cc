#include "gemm/gemm.h"

#include <stdexcept>
#include <string>

#include "base/packed.h"
#include "base/parallel.h"
#include "gemm/pack.h"
#include "gemm/run.h"

namespace fxquant {
namespace {

// Threads are worth their fork and join (a microsecond or two) from this many multiply-adds each.
constexpr int64_t kThreadWork = 1 << 19;
// From here on rows are split, below it panels: a split of panels reads each weight on one core only.
constexpr int64_t kManyRows = 400;

int64_t thread_count(const Product& product, int64_t rows, int threads) {
  const PackedHeader& header = *product.packed;
  const int64_t work = rows * header.out_channels * header.taps * header.tap_bytes / kThreadWork;
  return work < 1 ? 1 : work < threads ? work : threads;
}

void run_part(const Product& product, const RunPart& part) {
  switch (product.packed->isa) {
#define FXQUANT_GEMM_KERNEL(name, ...) \
  case Isa::name:                      \
    return run_product_##name(product, part);
#include "gemm/kernels.inc"
#undef FXQUANT_GEMM_KERNEL
  FXQUANT_FOREIGN_ISAS:
    break;
  }
}

}  // namespace

const uint8_t* PackedHeader::table() const { return reinterpret_cast<const uint8_t*>(this) + kHeaderBytes; }

const uint8_t* PackedHeader::panels() const { return table() + kTableBytes; }

const PackedHeader& packed_header(const uint8_t* packed, int64_t size, Layer layer, Isa isa) {
  const auto fail = [](const std::string& reason) { throw std::invalid_argument("packed weights: " + reason); };
  if (reinterpret_cast<uintptr_t>(packed) % 64 != 0) fail("the tensor is not aligned to 64 bytes; clone it");
  if (size < kHeaderBytes) fail("the tensor is too short");
  const PackedHeader& header = *reinterpret_cast<const PackedHeader*>(packed);
  if (header.magic != kPackedMagic || header.size != size || header.checksum != header_checksum(header)) {
    fail("the tensor was not made by a pack function");
  }
  if (header.layer != layer) fail("made for another layer type");
  if (header.isa != isa) {
    fail(std::string("made for ") + isa_name(header.isa) + ", but " + isa_name(isa) + " runs here; pack again");
  }
  return header;
}

void run_product(const Product& product, int threads) {
  const Panels panels = panels_of(*product.packed);
  const int64_t rows = product.y.n * product.y.h * product.y.w;
  const int64_t panel_count = panels.per_group * product.packed->packed_groups;
  const int64_t parts = thread_count(product, rows, threads);
  if (rows >= kManyRows || panel_count < 4 * parts) {
    parallel_for(rows, static_cast<int>(parts),
                 [&](int64_t begin, int64_t end) { run_part(product, {begin, end, 0, panel_count}); });
  } else {
    parallel_for(panel_count, static_cast<int>(parts),
                 [&](int64_t begin, int64_t end) { run_part(product, {0, rows, begin, end}); });
  }
}

void linear(const PackedHeader& packed, const uint8_t* x, int64_t rows, int64_t x_stride, const uint8_t* residual,
            int64_t residual_stride, uint8_t* y, int64_t y_stride, int threads, Span next) {
  Product product;
  product.packed = &packed;
  product.a = {x, 1, 1, rows, packed.in_channels, 0, 0, x_stride};
  product.a_end = x + (rows - 1) * x_stride + packed.in_channels;
  product.taps.bytes = packed.tap_bytes;
  product.residual = {residual, 1, 1, rows, packed.out_channels, 0, 0, residual_stride};
  product.y = {y, 1, 1, rows, packed.out_channels, 0, 0, y_stride};
  product.next = next;
  run_product(product, threads);
}

}  // namespace fxquant
