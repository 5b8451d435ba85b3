#include "floats/floats.h"

#include <cstring>

#include "base/kernel_rows.h"
#include "base/parallel.h"
#include "matmul/parts.h"

namespace fxquant {

#define KERNELS(isa, table) extern const FloatKernels table;
#include "floats/kernels.inc"
#undef KERNELS

namespace {

constexpr KernelRow<FloatKernels> kRows[] = {
#define KERNELS(isa, table) {Isa::isa, &table},
#include "floats/kernels.inc"
#undef KERNELS
};

// Rows of a table that are fetched into the cache before they are wanted: no machine guesses which ones come.
constexpr int64_t kAhead = 4;

void fetch(const float* row, int64_t length) {
  constexpr int64_t kLine = 16;
  for (int64_t i = 0; i < length; i += kLine) __builtin_prefetch(row + i);
}

template <class Body>
void for_rows(int64_t count, int64_t length, int threads, const Body& body) {
  parallel_for(length > 0 ? count : 0, worthwhile_threads(8 * count * length, threads), body);
}

}  // namespace

const FloatKernels& float_kernels(Isa isa) { return kernels_of(kRows, isa); }

int64_t float_attention_scratch(const FloatAttention& params, Isa isa) {
  return float_kernels(isa).attention_scratch(params);
}

bool float_embedding(const FloatEmbedding& p, float* y, const int64_t* index, const float* table, int64_t begin,
                     int64_t end) {
  bool right = true;
  const auto lies_in = [&](int64_t row) { return index[row] >= 0 && index[row] < p.size; };
  for (int64_t row = begin; row < end; ++row) {
    const bool is_one = lies_in(row);
    right = right && is_one;
    const float* from = table + (is_one ? index[row] * p.length : 0);
    if (row + kAhead < p.rows && lies_in(row + kAhead)) fetch(table + index[row + kAhead] * p.length, p.length);
    std::memcpy(y + row * p.length, from, static_cast<size_t>(p.length) * sizeof(float));
  }
  return right;
}

#define PAIRS(op)                                                                                        \
  void float_##op(const Rows<3>& rows, float* y, const float* a, const float* b, Isa isa, int threads) { \
    const FloatKernels& kernels = float_kernels(isa);                                                    \
    for_rows(rows.count, rows.length, threads,                                                           \
             [&](int64_t begin, int64_t end) { kernels.op(rows, y, a, b, begin, end); });                \
  }
PAIRS(add)
PAIRS(mul)
#undef PAIRS

#define FUNCTION(op)                                                                       \
  void float_##op(const FloatRows& rows, float* y, const float* x, Isa isa, int threads) { \
    const FloatKernels& kernels = float_kernels(isa);                                      \
    for_rows(rows.count, rows.length, threads,                                             \
             [&](int64_t begin, int64_t end) { kernels.op(rows, y, x, begin, end); });     \
  }
FUNCTION(gelu)
FUNCTION(gelu_tanh)
FUNCTION(silu)
#undef FUNCTION

void float_layer_norm(const FloatLayerNorm& p, float* y, const float* x, Isa isa, int threads) {
  const FloatKernels& kernels = float_kernels(isa);
  for_rows(p.rows.count, p.rows.length, threads,
           [&](int64_t begin, int64_t end) { kernels.layer_norm(p, y, x, begin, end); });
}

void float_rms_norm(const FloatLayerNorm& p, float* y, const float* x, Isa isa, int threads) {
  const FloatKernels& kernels = float_kernels(isa);
  for_rows(p.rows.count, p.rows.length, threads,
           [&](int64_t begin, int64_t end) { kernels.rms_norm(p, y, x, begin, end); });
}

void float_attention(const FloatAttention& p, const FloatAttentionOperands& operands, uint8_t* scratch, Isa isa,
                     int threads) {
  const FloatKernels& kernels = float_kernels(isa);
  run_attention_parts(p, threads, scratch, kernels.attention_scratch(p),
                      [&](const MatmulPart& part) { kernels.attention(p, operands, part); });
}

}  // namespace fxquant
