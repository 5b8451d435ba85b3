// Any function of one uint8, as a table:
//   one table            y[n, h, w, c] = tables[x[n, h, w, c]]
//   a table a channel    y[i] = tables[256 * channel(i) + x[i]]
#pragma once
#include <cstdint>

#include "base/isa.h"
#include "base/strided.h"

namespace fxquant {

constexpr int kTableSize = 256;

struct LookupKernels {
  // y[i] = table[x[i]] for i < count; y may be x.
  void (*run)(const uint8_t* x, uint8_t* y, int64_t count, const uint8_t* table);
};

// Tensor 0 of `walk` is y, tensor 1 is x; y may be x if their strides are the same.
void lookup(const Walk<2>& walk, uint8_t* y, const uint8_t* x, const uint8_t* table, Isa isa, int threads);

// Tensor 2 of `walk` is `tables`: a stride of 256 along the channels, 0 elsewhere.
void lookup_per_channel(const Walk<3>& walk, uint8_t* y, const uint8_t* x, const uint8_t* tables, Isa isa, int threads);

}  // namespace fxquant
