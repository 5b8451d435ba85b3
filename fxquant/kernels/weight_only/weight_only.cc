#include "weight_only/weight_only.h"

#include <cstring>
#include <stdexcept>

#include "base/kernel_rows.h"
#include "base/packed.h"
#include "base/parallel.h"
#include "weight_only/pack.h"

namespace fxquant {

#define KERNELS(isa, table) extern const WeightOnlyKernels table;
#include "weight_only/kernels.inc"
#undef KERNELS

namespace {

constexpr KernelRow<WeightOnlyKernels> kRows[] = {
#define KERNELS(isa, table) {Isa::isa, &table},
#include "weight_only/kernels.inc"
#undef KERNELS
};

constexpr uint64_t kMagic = 0x7765696768746f32;  // "weighto2"
static_assert(sizeof(WeightOnlyHeader) <= kWeightOnlyHeaderBytes, "panels begin behind the header");

// Threads are worth their fork and join from so many multiply-adds each.
constexpr int64_t kThreadWork = 1 << 18;

int64_t columns_of(Isa isa) { return kernels_of(kRows, isa).columns; }

int64_t panels_of(const WeightOnlyHeader& h, int64_t columns) { return (h.outputs + columns - 1) / columns; }

WeightOnlyHeader header_of(const WeightOnlyWeights& w, Isa isa) {
  WeightOnlyHeader h{};
  h.magic = kMagic;
  h.isa = static_cast<int32_t>(isa);
  h.weight_bytes = w.weight_bytes;
  h.inputs = w.inputs;
  h.outputs = w.outputs;
  h.group = w.group;
  h.output = w.output;
  const int64_t columns = columns_of(isa);
  h.size = kWeightOnlyHeaderBytes + panels_of(h, columns) * WeightOnlyPanel(h, columns).bytes;
  h.checksum = header_checksum(h);
  return h;
}

template <class Weight>
void pack_column(const Weight* from, int64_t inputs, int64_t columns, uint8_t* to) {
  for (int64_t k = 0; k < inputs; ++k) reinterpret_cast<Weight*>(to)[k * columns] = from[k];
}

// Output `n`, to its panel from `panel` on.
void pack_output(const WeightOnlyWeights& w, const WeightOnlyHeader& h, int64_t n, int64_t columns, uint8_t* panel) {
  const WeightOnlyPanel parts(h, columns);
  const int64_t column = n % columns;
  reinterpret_cast<float*>(panel)[column] = w.bias[n];
  auto* scales = reinterpret_cast<float*>(panel + parts.scales);
  for (int64_t g = 0; g < h.groups(); ++g) scales[g * columns + column] = w.scale[n * h.groups() + g];
  uint8_t* to = panel + parts.weights + column * h.weight_bytes;
  if (h.weight_bytes == 2) return pack_column(w.halves + n * h.inputs, h.inputs, columns, to);
  pack_column(w.weight + n * h.inputs, h.inputs, columns, to);
}

}  // namespace

int64_t weight_only_size(const WeightOnlyWeights& w, Isa isa) { return header_of(w, isa).size; }

void pack_weight_only(const WeightOnlyWeights& w, Isa isa, uint8_t* packed) {
  const WeightOnlyHeader h = header_of(w, isa);
  std::memset(packed, 0, static_cast<size_t>(h.size));
  std::memcpy(packed, &h, sizeof h);
  const int64_t columns = columns_of(isa), bytes = WeightOnlyPanel(h, columns).bytes;
  for (int64_t n = 0; n < h.outputs; ++n) {
    pack_output(w, h, n, columns, packed + kWeightOnlyHeaderBytes + n / columns * bytes);
  }
}

const WeightOnlyHeader& weight_only_header(const uint8_t* packed, int64_t size, Isa isa) {
  const auto& h = *reinterpret_cast<const WeightOnlyHeader*>(packed);
  if (size < kWeightOnlyHeaderBytes || h.magic != kMagic || h.checksum != header_checksum(h) || h.size != size) {
    throw std::invalid_argument("these are no packed weights of a weight-only linear");
  }
  if (h.isa != static_cast<int32_t>(isa)) throw std::invalid_argument("the weights were packed for another ISA");
  return h;
}

void weight_only_linear(const WeightOnlyLinear& p, float* y, const float* x, int threads) {
  const WeightOnlyHeader& h = *p.packed;
  const WeightOnlyKernels& kernels = kernels_of(kRows, static_cast<Isa>(h.isa));
  const int64_t most = 1 + p.rows * h.inputs * h.outputs / kThreadWork;
  const int some = most < threads ? static_cast<int>(most) : threads;
  parallel_for(panels_of(h, kernels.columns), some,
               [&](int64_t begin, int64_t end) { kernels.run(p, y, x, begin, end); });
}

}  // namespace fxquant
