#include "dynamic/dynamic.h"

#include <algorithm>
#include <cmath>

#include "base/kernel_rows.h"
#include "base/parallel.h"

namespace fxquant {

#define KERNELS(isa, table) extern const DynamicKernels table;
#include "dynamic/kernels.inc"
#undef KERNELS

namespace {

constexpr KernelRow<DynamicKernels> kRows[] = {
#define KERNELS(isa, table) {Isa::isa, &table},
#include "dynamic/kernels.inc"
#undef KERNELS
};

// A row of codes is a multiple of this apart, and there is as much behind the last one: whole steps over k.
constexpr int64_t kLine = 64;

int64_t code_stride(int64_t depth) { return (depth + kLine - 1) / kLine * kLine; }

// What scratch holds: codes [rows][code_stride], RowTerms [rows], Range [rows].
struct Scratch {
  uint8_t* codes;
  RowTerms* terms;
  Range* ranges;

  Scratch(uint8_t* memory, int64_t rows, int64_t depth) : codes(memory) {
    terms = reinterpret_cast<RowTerms*>(codes + rows * code_stride(depth));
    ranges = reinterpret_cast<Range*>(terms + rows);
  }
};

DynamicRows rows_of(const DynamicLinear& p) { return {p.rows, p.packed->in_channels, p.x_stride, p.levels}; }

// Codes of all rows, all with the same terms.
void quantize_alike(const DynamicLinear& p, const Scratch& to, const float* x, int threads) {
  const DynamicKernels& kernels = dynamic_kernels(p.packed->isa);
  const int64_t depth = p.packed->in_channels;
  parallel_for(p.rows, threads, [&](int64_t begin, int64_t end) {
    for (int64_t m = begin; m < end; ++m) to.ranges[m] = kernels.range(x + m * p.x_stride, depth);
  });
  const RowTerms all = row_terms(joined(to.ranges, p.rows), p.levels);
  parallel_for(p.rows, threads, [&](int64_t begin, int64_t end) {
    for (int64_t m = begin; m < end; ++m) {
      to.terms[m] = all;
      kernels.quantize(to.codes + m * code_stride(depth), x + m * p.x_stride, depth, all, p.levels);
    }
  });
}

void add_bias(const DynamicLinear& p, float* y, const RowTerms* terms, int threads) {
  const int64_t outputs = p.packed->out_channels;
  const DynamicKernels& kernels = dynamic_kernels(p.packed->isa);
  parallel_for(p.rows, worthwhile_threads(p.rows * outputs * 4, threads), [&](int64_t begin, int64_t end) {
    for (int64_t m = begin; m < end; ++m) {
      kernels.add_bias(y + m * p.y_stride, outputs, terms[m].scale, p.integer_bias);
    }
  });
}

// Rounded to an integer, ties to even; |value| < 2^51.
double nearest(double value) { return value + 0x1.8p52 - 0x1.8p52; }

}  // namespace

const DynamicKernels& dynamic_kernels(Isa isa) { return kernels_of(kRows, isa); }

Range joined(const Range& a, const Range& b) {
  if (std::isnan(a.low)) return a;
  if (std::isnan(b.low)) return b;
  return {std::min(a.low, b.low), std::max(a.high, b.high)};
}

Range joined(const Range* ranges, int64_t count) {
  Range all = {0.0F, 0.0F};
  for (int64_t i = 0; i < count; ++i) all = joined(all, ranges[i]);
  return all;
}

RowTerms row_terms(const Range& range, const Levels& levels) {
  if (std::isnan(range.low)) return {levels.quant_min, range.low};
  const double low = range.low, width = static_cast<double>(range.high) - low;
  const double s = std::max(width / (levels.quant_max - levels.quant_min), static_cast<double>(kSmallestScale));
  const double z = nearest(levels.quant_min - low / s);
  return {std::clamp(static_cast<int32_t>(z), levels.quant_min, levels.quant_max), static_cast<float>(s)};
}

int64_t dynamic_scratch(int64_t rows, int64_t depth) {
  const int64_t terms = static_cast<int64_t>(sizeof(RowTerms) + sizeof(Range));
  return rows * (code_stride(depth) + terms) + kLine;
}

DynamicCodes dynamic_codes(const uint8_t* scratch, int64_t rows, int64_t depth) {
  const Scratch in(const_cast<uint8_t*>(scratch), rows, depth);
  return {in.codes, in.terms, code_stride(depth)};
}

// Of a few rows first the terms: a CPU works on several while it waits for those of one.
void dynamic_rows(const DynamicRows& p, uint8_t* scratch, const float* x, Isa isa, int64_t begin, int64_t end) {
  constexpr int64_t kTogether = 8;
  const DynamicKernels& kernels = dynamic_kernels(isa);
  const Scratch to(scratch, p.rows, p.depth);
  const int64_t stride = code_stride(p.depth);
  for (int64_t first = begin; first < end; first += kTogether) {
    const int64_t last = std::min(first + kTogether, end);
    for (int64_t m = first; m < last; ++m) to.ranges[m] = kernels.range(x + m * p.x_stride, p.depth);
    for (int64_t m = first; m < last; ++m) to.terms[m] = row_terms(to.ranges[m], p.levels);
    for (int64_t m = first; m < last; ++m) {
      kernels.quantize(to.codes + m * stride, x + m * p.x_stride, p.depth, to.terms[m], p.levels);
    }
  }
}

void dynamic_product(const DynamicLinear& p, float* y, const uint8_t* scratch, int threads, Span next) {
  const PackedHeader& packed = *p.packed;
  const Scratch in(const_cast<uint8_t*>(scratch), p.rows, packed.in_channels);
  Product product;
  product.packed = p.packed;
  product.a = {in.codes, 1, 1, p.rows, packed.in_channels, 0, 0, code_stride(packed.in_channels)};
  product.a_end = scratch + dynamic_scratch(p.rows, packed.in_channels);
  product.taps.bytes = packed.tap_bytes;
  product.residual = {reinterpret_cast<const uint8_t*>(in.terms), 1, 1, p.rows, 1, 0, 0, sizeof(RowTerms)};
  product.y = {reinterpret_cast<uint8_t*>(y), 1, 1, p.rows, packed.out_channels, 0, 0, 4 * p.y_stride};
  product.next = next;
  run_product(product, threads);
  if (p.integer_bias.bias) add_bias(p, y, in.terms, threads);
}

void dynamic_linear(const DynamicLinear& p, float* y, const float* x, uint8_t* scratch, int threads, Span next) {
  const int some = worthwhile_threads(p.rows * p.packed->in_channels * 4, threads);
  if (p.by_row) {
    parallel_for(p.rows, some,
                 [&](int64_t begin, int64_t end) { dynamic_rows(rows_of(p), scratch, x, p.packed->isa, begin, end); });
  } else {
    quantize_alike(p, Scratch(scratch, p.rows, p.packed->in_channels), x, some);
  }
  dynamic_product(p, y, scratch, threads, next);
}

}  // namespace fxquant
