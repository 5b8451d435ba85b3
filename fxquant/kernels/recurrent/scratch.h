// What a thread keeps while it runs a recurrence, and where: for `rows` rows of a batch and blocks of `steps` steps.
#pragma once
#include "recurrent/recurrent.h"

namespace fxquant {
namespace {  // included by files of different ISAs: the linker must not merge what they make of it

struct RecurrentScratch {
  int64_t units, x_stride = 0;  // of a row of h, and of x: whole vectors of any ISA
  uint8_t *h, *next, *x_codes = nullptr, *rest_codes = nullptr;
  float *state, *inputs, *real = nullptr, *rest = nullptr;
  RowTerms *h_terms = nullptr, *x_terms = nullptr, *rest_terms = nullptr;
  int64_t bytes;

  RecurrentScratch(const RecurrentHeader& w, int64_t rows, int64_t steps, uint8_t* memory)
      : units((w.hidden + 15) / 16 * 16) {
    uint8_t* at = memory;
    const auto take = [&](auto*& pointer, int64_t count) {
      pointer = reinterpret_cast<decltype(+pointer)>(at);
      at += count * static_cast<int64_t>(sizeof *pointer);
    };
    take(h, rows * units);
    take(next, rows * units);
    take(state, rows * units);
    take(inputs, steps * rows * w.panels() * w.lanes * w.input_gates());
    if (w.dynamic) {
      x_stride = (w.inputs + 15) / 16 * 16;
      take(real, rows * units);
      take(h_terms, rows);
      take(x_terms, steps * rows);
      take(x_codes, steps * rows * x_stride);
    }
    if (w.two_bytes) {
      take(rest, x_stride);
      take(rest_terms, steps * rows);
      take(rest_codes, steps * rows * x_stride);
    }
    bytes = (at - memory + 63) / 64 * 64;
  }
};

}  // namespace
}  // namespace fxquant
