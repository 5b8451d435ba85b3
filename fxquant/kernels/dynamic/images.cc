#include "dynamic/images.h"

#include <algorithm>

#include "base/parallel.h"
#include "copy/copy.h"
#include "quantize/quantize.h"

namespace fxquant {
namespace {

// The parts of an example whose ranges are found one by one, by whichever thread. Fixed, so that scratch is.
constexpr int64_t kParts = 16;

Range range_of_plane(const Plane<1>& plane, const float* x, const DynamicKernels& kernels) {
  Range all = {0.0F, 0.0F};
  for (int64_t r = 0; r < plane.rows; ++r) {
    const float* row = x + plane.offset[0] + r * plane.row[0];
    if (plane.step[0] == 1) {
      all = joined(all, kernels.range(row, plane.length));
      continue;
    }
    for (int64_t i = 0; i < plane.length; ++i) all = joined(all, kernels.range(row + i * plane.step[0], 1));
  }
  return all;
}

// The range of one part of an example. `walk` is simplified.
Range range_of_part(const Walk<1>& walk, const float* x, int64_t part, const DynamicKernels& kernels) {
  Range all = {0.0F, 0.0F};
  int64_t units = 1;
  for (int d = 0; d < std::max(walk.rank - 1, 1); ++d) units *= walk.size[d];
  const int64_t begin = units * part / kParts, end = units * (part + 1) / kParts;
  if (begin == end) return all;
  const auto join = [&](const Plane<1>& plane) { all = joined(all, range_of_plane(plane, x, kernels)); };
  if (walk.rank == 1) {
    walk_elements(walk, begin, end, join);
  } else {
    walk_rows(walk, begin, end, join);
  }
  return all;
}

int64_t elements_of(const Walk<1>& walk) {
  int64_t count = 1;
  for (int d = 0; d < walk.rank; ++d) count *= walk.size[d];
  return count;
}

}  // namespace

int64_t example_terms_scratch(int64_t examples) { return examples * kParts * static_cast<int64_t>(sizeof(Range)); }

void example_terms(const Examples<1>& examples, RowTerms* terms, const float* x, uint8_t* scratch, bool by_example,
                   const Levels& levels, Isa isa, int threads) {
  Range* ranges = reinterpret_cast<Range*>(scratch);
  const DynamicKernels& kernels = dynamic_kernels(isa);
  const Walk<1> walk = simplified(examples.one);
  const int64_t parts = examples.count * kParts;
  const int some = worthwhile_threads(examples.count * elements_of(walk) * 4, threads);
  parallel_for(parts, some, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      ranges[i] = range_of_part(walk, x + i / kParts * examples.stride[0], i % kParts, kernels);
    }
  });
  const RowTerms all = by_example ? RowTerms{} : row_terms(joined(ranges, parts), levels);
  parallel_for(examples.count, by_example ? some : 1, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      terms[n] = by_example ? row_terms(joined(ranges + n * kParts, kParts), levels) : all;
    }
  });
}

void example_codes(const Examples<2>& examples, uint8_t* q, const float* x, const RowTerms* terms, const Levels& levels,
                   Isa isa, int threads) {
  for (int64_t n = 0; n < examples.count; ++n) {
    const Quantize params = {terms[n].scale, {terms[n].zero_point, levels.quant_min, levels.quant_max}};
    quantize(examples.one, q + n * examples.stride[0], x + n * examples.stride[1], params, isa, threads);
  }
}

void fill_zero_points(const Examples<1>& examples, uint8_t* y, const RowTerms* terms, int threads) {
  for (int64_t n = 0; n < examples.count; ++n) {
    fill(examples.one, y + n * examples.stride[0], static_cast<uint8_t>(terms[n].zero_point), threads);
  }
}

}  // namespace fxquant
