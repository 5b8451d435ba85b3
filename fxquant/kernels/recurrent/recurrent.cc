#include "recurrent/recurrent.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "base/packed.h"
#include "base/parallel.h"
#include "dynamic/dynamic.h"
#include "recurrent/scratch.h"

namespace fxquant {

#define KERNELS(isa, table) extern const RecurrentKernels table;
#include "recurrent/kernels.inc"
#undef KERNELS

namespace {

constexpr uint32_t kRecurrentMagic = 0x52515846;  // "FXQR"
// Of a thread, for the products of a block of steps: they stay in L2 beside the weights of a step.
constexpr int64_t kBlockBytes = 1 << 18;
// Threads are worth their fork and join (a microsecond or two) from this many multiply-adds each.
constexpr int64_t kThreadWork = 1 << 18;

const RecurrentKernels& recurrent_kernels(Isa isa) {
  switch (isa) {
#define KERNELS(name, table) \
  case Isa::name:            \
    return table;
#include "recurrent/kernels.inc"
#undef KERNELS
  FXQUANT_FOREIGN_ISAS:
    break;
  }
  return recurrent_scalar;
}

RecurrentHeader header_of(Recurrence kind, int64_t inputs, int64_t hidden, bool two_bytes, Isa isa) {
  RecurrentHeader h{};
  h.magic = kRecurrentMagic;
  h.isa = isa;
  h.kind = kind;
  h.inputs = inputs;
  h.hidden = hidden;
  h.lanes = recurrent_kernels(isa).lanes;
  h.two_bytes = two_bytes;
  h.size = h.bytes();
  return h;
}

// Gate `to` of the `gates` that panels have: the `hidden` outputs of w from `first` on, of w.low if `low`. Their
// multipliers are `worth` times those of w.
struct PackedGate {
  int64_t to, gates, first;
  float worth;
  bool low = false, biased = true;
};

void pack_gate(const RecurrentHeader& h, const GateWeights& w, const PackedGate& gate, uint8_t* panels) {
  const int64_t vector = 4 * h.lanes, row = gate.gates * vector;
  for (int64_t unit = 0; unit < h.hidden; ++unit) {
    const int64_t output = gate.first + unit;
    const int8_t* weights = gate.low ? w.low + unit * w.depth : w.weight + output * w.depth;
    uint8_t* slot =
        panels + unit / h.lanes * gate.gates * h.gate_bytes(w.depth) + gate.to * vector + unit % h.lanes * 4;
    int32_t sum = 0;
    for (int64_t k = 0; k < w.depth; ++k) {
      slot[(3 + k / 4) * row + k % 4] = static_cast<uint8_t>(weights[k]);
      sum += weights[k];
    }
    const int32_t term = h.dynamic ? sum : -w.zero_point * sum;
    const float multiplier = gate.worth * w.multiplier[output];
    std::memcpy(slot, &term, 4);
    std::memcpy(slot + row, &multiplier, 4);
    if (gate.biased) std::memcpy(slot + 2 * row, w.bias + output, 4);
  }
}

// All gates of a product, and behind them the low bytes of the candidate gate, if there are any.
void pack_panels(const RecurrentHeader& h, const GateWeights& w, uint8_t* panels) {
  const int64_t candidate = candidate_of(h.kind);
  for (int64_t g = 0; g < h.gates(); ++g) {
    const float worth = w.low && g == candidate ? 256.0F : 1.0F;
    pack_gate(h, w, {g, h.weight_gates(), g * h.hidden, worth}, panels);
  }
  if (w.low) pack_gate(h, w, {h.gates(), h.weight_gates(), candidate * h.hidden, 1.0F, true, false}, panels);
}

int64_t block_rows(int64_t batch, int64_t blocks) { return (batch + blocks - 1) / blocks; }

int64_t block_steps(const RecurrentHeader& w, int64_t steps, int64_t rows) {
  const int64_t a_step = rows * w.panels() * w.lanes * w.input_gates() * 4;
  return std::clamp<int64_t>(kBlockBytes / std::max<int64_t>(a_step, 1), 1, std::max<int64_t>(steps, 1));
}

int64_t block_scratch(const RecurrentHeader& w, int64_t steps, int64_t rows) {
  return RecurrentScratch(w, rows, block_steps(w, steps, rows), nullptr).bytes;
}

}  // namespace

int64_t recurrent_packed_size(Recurrence kind, int64_t inputs, int64_t hidden, bool two_bytes, Isa isa) {
  return header_of(kind, inputs, hidden, two_bytes, isa).size;
}

void pack_recurrent(Recurrence kind, int64_t hidden, const GateWeights& input, const GateWeights& recurrent,
                    bool dynamic, Isa isa, uint8_t* packed) {
  RecurrentHeader header = header_of(kind, input.depth, hidden, recurrent.low != nullptr, isa);
  header.h_zero_point = recurrent.zero_point;
  header.dynamic = dynamic;
  const float* end = recurrent.bias + header.gates() * hidden;
  header.biased = std::any_of(recurrent.bias, end, [](float bias) { return bias != 0.0F; });
  header.checksum = header_checksum(header);
  std::memset(packed, 0, static_cast<size_t>(header.size));
  std::memcpy(packed, &header, sizeof header);
  uint8_t* panels = packed + 64;
  pack_panels(header, input, panels);
  panels += header.panels() * header.input_panel_bytes();
  if (input.low) pack_gate(header, input, {0, 1, candidate_of(kind) * hidden, 256.0F, false, false}, panels);
  panels += header.panels() * header.rest_panel_bytes();
  pack_panels(header, recurrent, panels);
}

const RecurrentHeader& recurrent_header(const uint8_t* packed, int64_t size, Isa isa) {
  const auto* header = reinterpret_cast<const RecurrentHeader*>(packed);
  const bool whole = size >= 64 && header->magic == kRecurrentMagic && header->checksum == header_checksum(*header);
  if (!whole || header->size != size) throw std::invalid_argument("these are no packed recurrent weights");
  if (header->isa != isa) throw std::invalid_argument("the weights are packed for another instruction set");
  return *header;
}

RowTerms rest_terms_of(const RowTerms& x) {
  const float scale = x.scale / 255.0F;
  return {128, scale < kSmallestScale ? kSmallestScale : scale};
}

int64_t recurrent_blocks(const RecurrentHeader& w, int64_t steps, int64_t batch, int threads) {
  const int64_t work = steps * batch * w.gates() * w.hidden * (w.inputs + w.hidden);
  return std::max<int64_t>(1, std::min({batch, work / kThreadWork + 1, static_cast<int64_t>(threads)}));
}

int64_t recurrent_scratch(const RecurrentHeader& w, int64_t steps, int64_t batch, int64_t blocks) {
  return blocks * block_scratch(w, steps, block_rows(batch, blocks));
}

void recurrent(const Recurrent& p, const RecurrentOperands& o, uint8_t* scratch, int threads) {
  const RecurrentKernels& kernels = recurrent_kernels(p.weights->isa);
  const int64_t rows = block_rows(p.batch, p.blocks), bytes = block_scratch(*p.weights, p.steps, rows);
  const int64_t steps = block_steps(*p.weights, p.steps, rows);
  parallel_for(p.blocks, threads, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = p.batch * block / p.blocks, last = p.batch * (block + 1) / p.blocks;
      if (first < last) kernels.run(p, o, first, last, steps, scratch + block * bytes);
    }
  });
}

}  // namespace fxquant
