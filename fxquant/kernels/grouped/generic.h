// The loops, on the dot products M of an ISA (base/dot_<isa>.h). Included by ISA files only.
#pragma once
#include "base/few_bytes.h"
#include "base/unroll.h"
#include "grouped/pack.h"

namespace fxquant {
namespace {

template <class M>
constexpr int64_t kPanelColumns = int64_t{M::kVectors} * M::kCount;

// Sums of products and totals of a tile stay in registers.
template <class M>
constexpr int kTileRows = M::kCount == 16 ? 5 : 2;

template <class M, int Rows>
struct Tile {
  const GroupedLinear& p;
  const uint8_t* x;       // of the first row
  const RowTerms* terms;  // likewise, or null
  typename M::F32 total[Rows][M::kVectors];

  // Adds the inputs [begin, begin + count) of the rows to `acc`.
  template <class Acc>
  void step(Acc& acc, int64_t begin, int64_t count, const uint8_t* weights) const {
    typename M::Weights w[M::kVectors];
    unroll<M::kVectors>([&](auto v) FXQUANT_UNROLLED { w[v] = M::weights(weights + v * 4 * M::kCount); });
    unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
      const uint8_t* from = x + m * p.x_stride + begin;
      const auto bytes = count >= kStep ? load_as<uint32_t>(from) : static_cast<uint32_t>(load_bytes(from, count));
      const auto broadcast = M::broadcast(bytes);
      unroll<M::kVectors>([&](auto v) FXQUANT_UNROLLED { acc[m][v] = M::dot(acc[m][v], broadcast, w[v]); });
    });
  }

  // One group, whose packed weights begin at `group`.
  void add(int64_t first, int64_t inputs, const uint8_t* group) {
    constexpr int64_t kColumns = kPanelColumns<M>;
    const auto* sums = reinterpret_cast<const int32_t*>(group);
    const auto* scales = reinterpret_cast<const float*>(group + 4 * kColumns);
    const uint8_t* weights = group + 8 * kColumns;
    typename M::Acc acc[Rows][M::kVectors];
    unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
      unroll<M::kVectors>([&](auto v) FXQUANT_UNROLLED { acc[m][v] = M::splat_i32(0); });
    });
    const int64_t left = p.packed->inputs - first;
    int64_t k = 0;
    for (; k < inputs && k + kStep <= left; k += kStep) step(acc, first + k, kStep, weights + k * kColumns);
    if (k < inputs) step(acc, first + k, left - k, weights + k * kColumns);
    unroll<M::kVectors>([&](auto v) FXQUANT_UNROLLED {
      const auto sum = M::load_i32(sums + v * M::kCount);
      const auto term = M::mul_i32(sum, M::splat_i32(-p.x_zero_point));
      const auto scale = M::load_f32(scales + v * M::kCount);
      unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
        const auto own = terms ? M::mul_i32(sum, M::splat_i32(-terms[m].zero_point)) : term;
        const auto real = M::to_float(M::add_i32(acc[m][v], own));
        total[m][v] = M::add(total[m][v], M::mul(real, scale));
      });
    });
  }

  void run(uint8_t* y, int64_t column, const uint8_t* panel) {
    const GroupedHeader& h = *p.packed;
    unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
      unroll<M::kVectors>([&](auto v) FXQUANT_UNROLLED { total[m][v] = M::set(0.0F); });
    });
    const int64_t bytes = group_bytes(h, 0, kPanelColumns<M>), groups = h.groups();
    for (int64_t g = 0; g < groups; ++g) add(g * h.group, group_inputs(h, g), panel + g * bytes);
    const auto multiplier = M::set(p.multiplier);
    const auto output = M::output(p.output);
    for (int v = 0; v < M::kVectors; ++v) {
      const int64_t at = column + v * M::kCount, left = h.outputs - at, count = left < M::kCount ? left : M::kCount;
      if (count <= 0) return;
      const auto bias = M::load_f32(p.bias + at, count);
      for (int m = 0; m < Rows; ++m) {
        uint8_t* to = y + m * p.y_stride;
        if (terms) {
          store(reinterpret_cast<float*>(to) + at, count, M::add(M::mul(total[m][v], M::set(terms[m].scale)), bias));
        } else {
          M::store_u8(to + at, count, M::add(M::mul(total[m][v], multiplier), bias), output);
        }
      }
    }
  }

  // `value` within the bounds; NaN stays.
  void store(float* to, int64_t count, typename M::F32 value) const {
    const auto zero = M::set(0.0F);
    value = M::greater(M::set(p.bounds.low), value);
    if (p.bounds.high < __builtin_inff()) {
      value = M::sub(zero, M::greater(M::set(-p.bounds.high), M::sub(zero, value)));
    }
    M::store_f32(to, count, value);
  }
};

template <class M, int Rows>
void run_rows(const GroupedLinear& p, int64_t row, uint8_t* y, const uint8_t* x, int64_t rows, int64_t column,
              const uint8_t* panel) {
  if (rows == Rows) {
    Tile<M, Rows> tile{p, x + row * p.x_stride, p.terms ? p.terms + row : nullptr, {}};
    return tile.run(y + row * p.y_stride, column, panel);
  }
  if constexpr (Rows > 1) run_rows<M, Rows - 1>(p, row, y, x, rows, column, panel);
}

template <class M>
void grouped_run(const GroupedLinear& p, uint8_t* y, const uint8_t* x, int64_t begin, int64_t end) {
  constexpr int64_t kColumns = kPanelColumns<M>, kRows = kTileRows<M>;
  const int64_t tiles = (p.rows + kRows - 1) / kRows, bytes = panel_bytes(*p.packed, kColumns);
  const uint8_t* panels = reinterpret_cast<const uint8_t*>(p.packed) + kHeaderBytes;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t panel = i / tiles, row = i % tiles * kRows;
    const int64_t rows = p.rows - row < kRows ? p.rows - row : kRows;
    run_rows<M, kTileRows<M>>(p, row, y, x, rows, panel * kColumns, panels + panel * bytes);
  }
}

template <class M>
constexpr GroupedKernels grouped_table() {
  return {kPanelColumns<M>, kTileRows<M>, grouped_run<M>};
}

}  // namespace
}  // namespace fxquant
