#include "grouped/grouped.h"

#include <cstring>
#include <stdexcept>

#include "base/kernel_rows.h"
#include "base/packed.h"
#include "base/parallel.h"
#include "grouped/pack.h"

namespace fxquant {

#define KERNELS(isa, table) extern const GroupedKernels table;
#include "grouped/kernels.inc"
#undef KERNELS

namespace {

constexpr KernelRow<GroupedKernels> kRows[] = {
#define KERNELS(isa, table) {Isa::isa, &table},
#include "grouped/kernels.inc"
#undef KERNELS
};

constexpr uint64_t kMagic = 0x67726f7570656431;  // "grouped1"
static_assert(sizeof(GroupedHeader) <= kHeaderBytes, "panels begin behind the header");

int64_t panels_of(int64_t outputs, int64_t columns) { return (outputs + columns - 1) / columns; }

GroupedHeader header_of(const GroupedWeights& w, Isa isa) {
  GroupedHeader h{};
  h.magic = kMagic;
  h.isa = static_cast<int64_t>(isa);
  h.inputs = w.inputs;
  h.outputs = w.outputs;
  h.group = w.group;
  const int64_t columns = kernels_of(kRows, isa).columns;
  h.size = kHeaderBytes + panels_of(w.outputs, columns) * panel_bytes(h, columns);
  h.checksum = header_checksum(h);
  return h;
}

// The columns from `first` on of one group.
void pack_group(const GroupedWeights& w, const GroupedHeader& h, int64_t g, int64_t first, int64_t columns,
                uint8_t* to) {
  auto* sums = reinterpret_cast<int32_t*>(to);
  auto* scales = reinterpret_cast<float*>(to + 4 * columns);
  uint8_t* weights = to + 8 * columns;
  for (int64_t c = 0; c < columns && first + c < w.outputs; ++c) {
    const int8_t* from = w.weight + (first + c) * w.inputs + g * w.group;
    scales[c] = w.scale[(first + c) * h.groups() + g];
    for (int64_t k = 0; k < group_inputs(h, g); ++k) {
      sums[c] += from[k];
      weights[k / kStep * kStep * columns + c * kStep + k % kStep] = static_cast<uint8_t>(from[k]);
    }
  }
}

}  // namespace

int64_t grouped_size(const GroupedWeights& w, Isa isa) { return header_of(w, isa).size; }

void pack_grouped(const GroupedWeights& w, Isa isa, uint8_t* packed) {
  const GroupedHeader h = header_of(w, isa);
  std::memset(packed, 0, static_cast<size_t>(h.size));
  std::memcpy(packed, &h, sizeof h);
  const int64_t columns = kernels_of(kRows, isa).columns, bytes = panel_bytes(h, columns);
  for (int64_t p = 0; p < panels_of(w.outputs, columns); ++p) {
    uint8_t* panel = packed + kHeaderBytes + p * bytes;
    for (int64_t g = 0; g < h.groups(); ++g) {
      pack_group(w, h, g, p * columns, columns, panel + g * group_bytes(h, 0, columns));
    }
  }
}

const GroupedHeader& grouped_header(const uint8_t* packed, int64_t size, Isa isa) {
  const auto& h = *reinterpret_cast<const GroupedHeader*>(packed);
  if (size < kHeaderBytes || h.magic != kMagic || h.checksum != header_checksum(h) || h.size != size) {
    throw std::invalid_argument("these are no packed weights of groups");
  }
  if (h.isa != static_cast<int64_t>(isa)) throw std::invalid_argument("the weights were packed for another ISA");
  return h;
}

void grouped_linear(const GroupedLinear& p, uint8_t* y, const uint8_t* x, int threads) {
  const GroupedKernels& kernels = kernels_of(kRows, static_cast<Isa>(p.packed->isa));
  const int64_t tiles = (p.rows + kernels.rows - 1) / kernels.rows;
  const int64_t count = tiles * panels_of(p.packed->outputs, kernels.columns);
  parallel_for(count, threads, [&](int64_t begin, int64_t end) { kernels.run(p, y, x, begin, end); });
}

}  // namespace fxquant
