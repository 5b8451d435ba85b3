// The layout of packed weights: where column n of a panel and byte k of a tap lie.
//
// Two vectors of a panel are packed to bytes by packs_epi32 and packus_epi16, which interleave groups of four lanes.
// So that the bytes come out in order, slot s of vector v holds column 8 * (s / 4) + s % 4 + 4 * v. A panel of one
// vector is in natural order, and so is one of float outputs, and one whose second vector is half empty where a Machine
// computes half vectors.
//
// Small groups are joined to fill a vector. Their product is a block diagonal: either its zeros are packed too, or
// (`spread`) every step takes four inputs of each joined group, and columns meet the four of their own group. For that
// a pixel's inputs of the joined groups are 16 bytes, and their outputs the 16 lanes of a vector.
#pragma once
#include <cstdint>

#include "base/isa.h"
#include "gemm/gemm.h"

namespace fxquant {
namespace {  // included by files of different ISAs: the linker must not merge what they make of it

constexpr uint32_t kPackedMagic = 0x47515846;  // "FXQG"
constexpr int64_t kSpreadInputs = 16;
constexpr int64_t kTableBytes = 256;
constexpr int64_t kHeaderBytes = (sizeof(PackedHeader) + 63) / 64 * 64;

// A step of four k. bytes: int8 [columns][4]. planes: int8 [4][columns]. words: int16, in each vector even k before odd
// k: [vectors][2][lanes][2]. A step of eight k. octets: int8 [columns][8].
enum class WeightLayout { bytes, planes, words, octets };

// What a panel holds of a column in front of its weights.
constexpr int64_t epilogue_bytes(bool gives_floats) { return gives_floats ? 12 : 8; }

struct PanelLayout {
  int rows, lanes, vectors;
  WeightLayout weights;

  int64_t columns() const { return lanes * vectors; }
  int64_t step() const { return weights == WeightLayout::octets ? 8 : 4; }
  int64_t step_bytes(int panel_vectors) const {
    return lanes * panel_vectors * step() * (weights == WeightLayout::words ? 2 : 1);
  }
};

[[maybe_unused]] PanelLayout panel_layout(Isa isa) {
  switch (isa) {
#define FXQUANT_GEMM_KERNEL(name, rows, lanes, vectors, weights) \
  case Isa::name:                                                \
    return {rows, lanes, vectors, WeightLayout::weights};
#include "gemm/kernels.inc"
#undef FXQUANT_GEMM_KERNEL
  FXQUANT_FOREIGN_ISAS:
    break;
  }
  return {1, 16, 1, WeightLayout::bytes};
}

// The panels of a product: all but the last of a group have `columns` columns.
struct Panels {
  PanelLayout layout;
  int64_t steps;          // over all taps
  int64_t group_outputs;  // columns of a group
  int64_t per_group;      // panels of a group
  int last_vectors;       // vectors of the last panel of a group
  bool last_half;         // of the last panel's second vector only the first half is computed
  bool gives_floats;
  int64_t bytes;  // of a panel of all vectors
  int64_t group_bytes;

  Panels(PanelLayout panel, bool halves, bool floats, int64_t all_steps, int64_t outputs)
      : layout(panel), steps(all_steps), group_outputs(outputs), gives_floats(floats) {
    per_group = (outputs + layout.columns() - 1) / layout.columns();
    const int64_t rest = outputs - (per_group - 1) * layout.columns();
    last_vectors = static_cast<int>((rest + layout.lanes - 1) / layout.lanes);
    last_half = halves && rest > layout.lanes && 2 * rest <= 3 * layout.lanes;
    bytes = panel_bytes(layout.vectors);
    group_bytes = (per_group - 1) * bytes + panel_bytes(last_vectors);
  }
  int64_t panel_bytes(int vectors) const {
    return layout.lanes * vectors * epilogue_bytes(gives_floats) + steps * layout.step_bytes(vectors);
  }
  int vectors(int64_t panel) const { return panel + 1 == per_group ? last_vectors : layout.vectors; }
  bool half(int64_t panel) const { return panel + 1 == per_group && last_half; }
};

[[maybe_unused]] int64_t steps_of_tap(const PackedHeader& header) {
  const int64_t step = panel_layout(header.isa).step();
  return ((header.spread > 0 ? header.spread : header.tap_bytes) + step - 1) / step;
}

[[maybe_unused]] Panels panels_of(const PackedHeader& header) {
  return Panels(panel_layout(header.isa), header.isa == Isa::avx512vnni, header.gives_floats != 0,
                header.taps * steps_of_tap(header), header.group_outputs);
}

// The slot that column `column` of a panel has, whose vectors have `lanes` lanes.
[[maybe_unused]] int64_t slot_of_column(int64_t column, int lanes, bool natural_order) {
  if (natural_order) return column;
  return column % 8 / 4 * lanes + column / 8 * 4 + column % 4;
}

}  // namespace
}  // namespace fxquant
