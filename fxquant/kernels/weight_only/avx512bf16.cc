// Weight-only linear of bfloat16, of rows enough to pay for bfloat16 weights, which are exact: 8 bits hold every
// integer of int8.
//
//   vdpbf16ps   acc[i] += x[2i] * w[2i] + x[2i + 1] * w[2i + 1], in float32; zen 5: two a cycle, twice the products of
//               two vfmadd. It takes denormals as zeros.
//
// Weights of some inputs of a panel become bfloat16, pairs of inputs side by side, and all rows are multiplied by them.
#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "base/unroll.h"
#include "weight_only/halves.h"
#include "weight_only/pack.h"

namespace fxquant {
namespace {

// 14 x 32 outputs are 28 accumulators, 2 weights and an input; 7 x 32 have room for totals of several groups.
constexpr int kRows = 14, kRowsOfGroups = 7, kVectors = 2, kLanes = 16, kColumns = kVectors * kLanes;

__m512 load(const float* p) { return _mm512_loadu_ps(p); }

// Weights int8 [inputs][kColumns] -> pairs [inputs / 2][kColumns]. The upper half of a float is its bfloat16.
void widen(uint32_t* pairs, const int8_t* weights, int64_t inputs) {
  for (int64_t k = 0; k < inputs; k += 2) {
    unroll<kVectors>([&](auto v) FXQUANT_UNROLLED {
      const auto bits = [&](int64_t input) FXQUANT_UNROLLED {
        const auto* from = reinterpret_cast<const __m128i*>(weights + input * kColumns + v * kLanes);
        return _mm512_castps_si512(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from))));
      };
      const __m512i pair = _mm512_or_si512(_mm512_srli_epi32(bits(k), 16), bits(k + 1));
      _mm512_storeu_si512(pairs + k / 2 * kColumns + v * kLanes, pair);
    });
  }
}

__m512i pair_at(const uint16_t* x) {
  int32_t pair;
  std::memcpy(&pair, x, sizeof pair);
  return _mm512_set1_epi32(pair);
}

// Weights of whole groups, or of a part of one.
struct Slice {
  const uint32_t* weights;
  int64_t pairs, groups;  // pairs of each group
  const float* scale;     // [groups][kColumns]
};

template <int Rows>
using Sums = __m512[Rows][kVectors];

// x times one group.
template <int Rows>
FXQUANT_UNROLLED inline void products(Sums<Rows>& acc, const uint16_t* x, int64_t x_stride, const uint32_t* weights,
                                      int64_t pairs) {
  unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
    unroll<kVectors>([&](auto v) FXQUANT_UNROLLED { acc[m][v] = _mm512_setzero_ps(); });
  });
  for (int64_t p = 0; p < pairs; ++p) {
    __m512i w[kVectors];
    unroll<kVectors>([&](auto v) FXQUANT_UNROLLED { w[v] = _mm512_loadu_si512(weights + p * kColumns + v * kLanes); });
    unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
      const __m512i input = pair_at(x + m * x_stride + 2 * p);
      unroll<kVectors>([&](auto v) FXQUANT_UNROLLED {
        acc[m][v] = _mm512_dpbf16_ps(acc[m][v], reinterpret_cast<__m512bh>(input), reinterpret_cast<__m512bh>(w[v]));
      });
    });
  }
}

// total[m][v] = total[m][v] + acc[m][v] * scale[v], each a reference to a vector in registers or memory.
template <int Rows, class Total>
FXQUANT_UNROLLED inline void add_scaled(const Sums<Rows>& acc, const float* scale, const Total& total) {
  unroll<kVectors>([&](auto v) FXQUANT_UNROLLED {
    const __m512 scales = load(scale + v * kLanes);
    unroll<Rows>([&](auto m) FXQUANT_UNROLLED { total(m, v) = _mm512_fmadd_ps(acc[m][v], scales, total(m, v)); });
  });
}

// total [Rows][kColumns] += x times the slice. Totals of few rows stay in registers from one group to the next.
template <int Rows>
void multiply(__m512* total, const uint16_t* x, int64_t x_stride, const Slice& s) {
  Sums<Rows> acc;
  if constexpr (Rows > kRowsOfGroups) {
    products<Rows>(acc, x, x_stride, s.weights, s.pairs);
    add_scaled<Rows>(acc, s.scale, [&](int m, int v) FXQUANT_UNROLLED -> auto& { return total[m * kVectors + v]; });
  } else {
    Sums<Rows> sums;
    unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
      unroll<kVectors>([&](auto v) FXQUANT_UNROLLED { sums[m][v] = total[m * kVectors + v]; });
    });
    for (int64_t g = 0; g < s.groups; ++g) {
      products<Rows>(acc, x + g * s.pairs * 2, x_stride, s.weights + g * s.pairs * kColumns, s.pairs);
      add_scaled<Rows>(acc, s.scale + g * kColumns, [&](int m, int v) FXQUANT_UNROLLED -> auto& { return sums[m][v]; });
    }
    unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
      unroll<kVectors>([&](auto v) FXQUANT_UNROLLED { total[m * kVectors + v] = sums[m][v]; });
    });
  }
}

// The same of `rows` rows, Rows at most.
template <int Rows>
void multiply_rows(int64_t rows, __m512* total, const uint16_t* x, int64_t x_stride, const Slice& slice) {
  if constexpr (Rows > 1) {
    if (rows < Rows) return multiply_rows<Rows - 1>(rows, total, x, x_stride, slice);
  }
  multiply<Rows>(total, x, x_stride, slice);
}

// Of all rows: tiles as even as possible.
void multiply_all(const WeightOnlyLinear& p, float* total, const uint16_t* x, const Slice& slice) {
  const int64_t largest = slice.groups > 1 ? kRowsOfGroups : kRows;
  const int64_t tiles = (p.rows + largest - 1) / largest, together = (p.rows + tiles - 1) / tiles;
  for (int64_t row = 0; row < p.rows; row += together) {
    const int64_t rows = p.rows - row < together ? p.rows - row : together;
    auto* to = reinterpret_cast<__m512*>(total + row * kColumns);
    multiply_rows<kRows>(rows, to, x + row * p.x_stride, p.x_stride, slice);
  }
}

// y = bfloat16(total within the bounds), `columns` of each row.
void finish(const WeightOnlyLinear& p, uint16_t* y, const float* total, int64_t columns) {
  const __m512 low = _mm512_set1_ps(p.packed->output.low), high = _mm512_set1_ps(p.packed->output.high);
  for (int64_t m = 0; m < p.rows; ++m) {
    for (int64_t n = 0; n < columns; n += kLanes) {
      const __m512 value = _mm512_min_ps(high, _mm512_max_ps(low, load(total + m * kColumns + n)));
      const auto some = static_cast<__mmask16>(columns - n < kLanes ? (1 << (columns - n)) - 1 : 0xFFFF);
      _mm256_mask_storeu_epi16(y + m * p.y_stride + n, some, reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(value)));
    }
  }
}

void run_panel(const WeightOnlyLinear& p, uint16_t* y, const uint16_t* x, const HalvesScratch& scratch, int64_t panel) {
  const WeightOnlyHeader& h = *p.packed;
  const WeightOnlyPanel parts(h, kColumns);
  const uint8_t* base = reinterpret_cast<const uint8_t*>(&h) + kWeightOnlyHeaderBytes + panel * parts.bytes;
  const auto* scales = reinterpret_cast<const float*>(base + parts.scales);
  const auto* weights = reinterpret_cast<const int8_t*>(base + parts.weights);
  for (int64_t m = 0; m < p.rows; ++m) std::memcpy(scratch.total + m * kColumns, base, sizeof(float) * kColumns);
  const int64_t whole = kHalvesDepth / h.group * h.group, depth = whole > 0 ? whole : kHalvesDepth;
  for (int64_t from = 0, to; from < h.inputs; from = to) {
    to = std::min({from + depth, h.inputs, whole > 0 ? h.inputs : (from / h.group + 1) * h.group});
    widen(scratch.pairs, weights + from * kColumns, to - from);
    const int64_t groups = std::max((to - from) / h.group, int64_t{1});
    const Slice slice = {scratch.pairs, (to - from) / groups / 2, groups, scales + from / h.group * kColumns};
    multiply_all(p, scratch.total, x + from, slice);
  }
  const int64_t left = h.outputs - panel * kColumns;
  finish(p, y + panel * kColumns, scratch.total, left < kColumns ? left : kColumns);
}

void run(const WeightOnlyLinear& p, uint16_t* y, const uint16_t* x, const HalvesScratch& scratch, int64_t begin,
         int64_t end) {
  for (int64_t panel = begin; panel < end; ++panel) run_panel(p, y, x, scratch, panel);
}

}  // namespace

extern const HalvesKernel weight_only_avx512bf16;
const HalvesKernel weight_only_avx512bf16 = {kColumns, run};

}  // namespace fxquant
