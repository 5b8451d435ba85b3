// The loops, on the lanes M of an ISA, which are those of base/lanes_<isa>.h and
//   kVectors   vectors of a panel        kRows   rows of a tile: their sums stay in registers
//   widen      w[v][i] = float(p[v * kCount + i]) for the vectors v of a panel, of int8 and of the bits of float16
//   fma        a * b + c, rounded once
//   less       a where a < b, else b
// Included by ISA files only.
//
// A core makes floats of weights while it multiplies others, as fast as memory brings them, so every tile reads them as
// they are: those of a panel stay in a cache from one tile of rows to the next.
#pragma once
#include <cstring>

#include "base/unroll.h"
#include "weight_only/pack.h"

namespace fxquant {
namespace {

template <class M>
constexpr int64_t kPanelColumns = int64_t{M::kVectors} * M::kCount;

// Panels of so many bytes stay in the L2 cache from one tile of rows to the next.
constexpr int64_t kCachedBytes = 1 << 18;

// Panels that one tile takes of so many rows: each sum waits for the one before, so there are eight vectors of them.
template <class M, int Rows>
constexpr int kPanelsOfTile = 8 / (Rows * M::kVectors) < 1 ? 1 : 8 / (Rows * M::kVectors);

// `Rows` rows times `Panels` panels, from the one at `panel` on.
template <class M, class Weight, int Rows, int Panels>
struct WeightOnlyTile {
  static constexpr int kVectors = Panels * M::kVectors;
  static constexpr int64_t kColumns = kPanelColumns<M>;
  using F32 = typename M::F32;

  const WeightOnlyHeader& h;
  const WeightOnlyPanel parts;
  const float* x;
  const int64_t x_stride;
  const uint8_t* panel;
  float total[Rows][kVectors * M::kCount];

  WeightOnlyTile(const WeightOnlyHeader& header, const float* inputs, int64_t stride, const uint8_t* first)
      : h(header), parts(header, kColumns), x(inputs), x_stride(stride), panel(first) {}

  // Floats of a panel's vector.
  const float* floats(int vector, int64_t part, int64_t row) const {
    const uint8_t* own = panel + vector / M::kVectors * parts.bytes + part;
    return reinterpret_cast<const float*>(own) + row * kColumns + vector % M::kVectors * M::kCount;
  }

  // Adds the sums of a group to those at `to`; with the last one they come within the bounds.
  void add_group(int64_t g, float* to, int64_t stride) {
    F32 acc[Rows][kVectors];
    unroll<Rows>(
        [&](auto m) FXQUANT_UNROLLED { unroll<kVectors>([&](auto v) FXQUANT_UNROLLED { acc[m][v] = M::set(0.0F); }); });
    const uint8_t* weights = panel + parts.weights;
    for (int64_t k = g * h.group; k < (g + 1) * h.group; ++k) {
      unroll<Panels>([&](auto i) FXQUANT_UNROLLED {
        F32 w[M::kVectors];
        M::widen(reinterpret_cast<const Weight*>(weights + i * parts.bytes) + k * kColumns, w);
        unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
          const F32 input = M::set(x[m * x_stride + k]);
          unroll<M::kVectors>([&](auto v) FXQUANT_UNROLLED {
            F32& sum = acc[m][i * M::kVectors + v];
            sum = M::fma(input, w[v], sum);
          });
        });
      });
    }
    const bool last = g + 1 == h.groups();
    const F32 low = M::set(last ? h.output.low : -__builtin_inff());
    const F32 high = M::set(last ? h.output.high : __builtin_inff());
    unroll<kVectors>([&](auto v) FXQUANT_UNROLLED {
      const F32 scale = M::load_f32(floats(v, parts.scales, g)), bias = M::load_f32(floats(v, 0, 0));
      unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
        float* at = to + m * stride + v * M::kCount;
        const F32 sum = M::fma(acc[m][v], scale, g == 0 ? bias : M::load_f32(at));
        M::store_f32(at, M::less(high, M::greater(low, sum)));
      });
    });
  }

  // Writes the first `columns`.
  __attribute__((noinline)) void run(float* y, int64_t y_stride, int64_t columns) {
    constexpr int64_t kAll = kVectors * M::kCount;
    const bool whole = columns == kAll;
    for (int64_t g = 0; g < h.groups(); ++g) add_group(g, whole ? y : total[0], whole ? y_stride : kAll);
    if (whole) return;
    const size_t bytes = static_cast<size_t>(columns) * sizeof(float);
    for (int64_t m = 0; m < Rows; ++m) std::memcpy(y + m * y_stride, total[m], bytes);
  }
};

template <class M, class Weight, int Rows, int Panels>
void weight_only_tile(const WeightOnlyLinear& p, float* y, const float* x, int64_t panel) {
  const WeightOnlyHeader& h = *p.packed;
  const int64_t column = panel * kPanelColumns<M>, left = h.outputs - column, most = Panels * kPanelColumns<M>;
  const uint8_t* panels = reinterpret_cast<const uint8_t*>(&h) + kWeightOnlyHeaderBytes;
  const uint8_t* first = panels + panel * WeightOnlyPanel(h, kPanelColumns<M>).bytes;
  WeightOnlyTile<M, Weight, Rows, Panels>(h, x, p.x_stride, first)
      .run(y + column, p.y_stride, left < most ? left : most);
}

// At most `Rows` rows.
template <class M, class Weight, int Rows>
void weight_only_rows(const WeightOnlyLinear& p, float* y, const float* x, int64_t rows, int64_t begin, int64_t end) {
  if constexpr (Rows > 1) {
    if (rows < Rows) return weight_only_rows<M, Weight, Rows - 1>(p, y, x, rows, begin, end);
  }
  constexpr int kPanels = kPanelsOfTile<M, Rows>;
  for (; begin + kPanels <= end; begin += kPanels) weight_only_tile<M, Weight, Rows, kPanels>(p, y, x, begin);
  for (; begin < end; ++begin) weight_only_tile<M, Weight, Rows, 1>(p, y, x, begin);
}

template <class M, class Weight>
void weight_only_panels(const WeightOnlyLinear& p, float* y, const float* x, int64_t begin, int64_t end) {
  const int64_t bytes = WeightOnlyPanel(*p.packed, kPanelColumns<M>).bytes;
  const int64_t together = p.rows > M::kRows ? kCachedBytes / bytes + 1 : end - begin;
  for (int64_t panel = begin; panel < end; panel += together) {
    const int64_t last = panel + together < end ? panel + together : end;
    for (int64_t row = 0; row < p.rows; row += M::kRows) {
      const int64_t rows = p.rows - row < M::kRows ? p.rows - row : M::kRows;
      weight_only_rows<M, Weight, M::kRows>(p, y + row * p.y_stride, x + row * p.x_stride, rows, panel, last);
    }
  }
}

template <class M>
void weight_only_run(const WeightOnlyLinear& p, float* y, const float* x, int64_t begin, int64_t end) {
  const auto run = p.packed->weight_bytes == 2 ? weight_only_panels<M, uint16_t> : weight_only_panels<M, int8_t>;
  run(p, y, x, begin, end);
}

template <class M>
constexpr WeightOnlyKernels weight_only_table() {
  return {kPanelColumns<M>, weight_only_run<M>};
}

}  // namespace
}  // namespace fxquant
