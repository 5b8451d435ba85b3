// Examples of float32 (images, volumes) whose integers get a scale and a zero point at run time, for an example or all:
//   terms[n] = row_terms (dynamic.h) of the smallest and the largest element of example n; of all examples, if asked
//   codes    q[n, i] = clamp(rne(x[n, i] / scale[n]) + zero_point[n], quant_min, quant_max)
//   border   y[n, i] = zero_point[n]
// An example that holds a NaN or an infinity has a scale of NaN. Examples are dimension 0; views have any strides.
#pragma once
#include <cstdint>

#include "base/isa.h"
#include "base/strided.h"
#include "dynamic/dynamic.h"

namespace fxquant {

// A walk over `count` examples, each of the elements of `one`; those of tensor t are `stride[t]` elements apart.
template <int N>
struct Examples {
  int64_t count = 0, stride[N] = {};
  Walk<N> one;

  explicit Examples(const Walk<N>& all) : count(all.size[0]) {
    one.rank = all.rank - 1;
    for (int t = 0; t < N; ++t) stride[t] = all.stride[t][0];
    for (int d = 0; d < one.rank; ++d) {
      one.size[d] = all.size[d + 1];
      for (int t = 0; t < N; ++t) one.stride[t][d] = all.stride[t][d + 1];
    }
  }
};

// Bytes of scratch for the terms of so many examples.
int64_t example_terms_scratch(int64_t examples);

void example_terms(const Examples<1>& examples, RowTerms* terms, const float* x, uint8_t* scratch, bool by_example,
                   const Levels& levels, Isa isa, int threads);

// Tensor 0 is q, tensor 1 is x.
void example_codes(const Examples<2>& examples, uint8_t* q, const float* x, const RowTerms* terms, const Levels& levels,
                   Isa isa, int threads);

void fill_zero_points(const Examples<1>& examples, uint8_t* y, const RowTerms* terms, int threads);

}  // namespace fxquant
