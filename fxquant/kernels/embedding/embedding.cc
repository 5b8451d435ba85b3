#include "embedding/embedding.h"

#include <algorithm>
#include <limits>
#include <type_traits>

#include "base/kernel_rows.h"
#include "base/parallel.h"

namespace fxquant {

#define KERNELS(isa, table) extern const EmbeddingKernels table;
#include "embedding/kernels.inc"
#undef KERNELS

namespace {

constexpr KernelRow<EmbeddingKernels> kRows[] = {
#define KERNELS(isa, table) {Isa::isa, &table},
#include "embedding/kernels.inc"
#undef KERNELS
};

void run(const EmbeddingKernels& kernels, const Bags<int32_t>& p, float* y, int64_t begin, int64_t end) {
  kernels.bags_i32(p, y, begin, end);
}

void run(const EmbeddingKernels& kernels, const Bags<int64_t>& p, float* y, int64_t begin, int64_t end) {
  kernels.bags_i64(p, y, begin, end);
}

template <class Int>
std::string wrong_offsets(const Bags<Int>& p) {
  if (p.bags > 0 && p.offsets[0] != 0)
    return "the offset of the first bag is " + std::to_string(p.offsets[0]) + ", not 0";
  for (int64_t b = 0; b < p.bags; ++b) {
    if (p.begin(b) > p.end(b) || p.end(b) > p.indices) {
      return "bag " + std::to_string(b) + " would be the indices " + std::to_string(p.begin(b)) + " to " +
             std::to_string(p.end(b)) + " of " + std::to_string(p.indices);
    }
  }
  return "";
}

// Whether all indices are in 0..rows - 1: of those alone neither the index nor its distance to the last row is
// negative. Without branches, since there are many.
template <class Int>
bool all_in(const Int* index, int64_t indices, int64_t rows) {
  using Bits = std::make_unsigned_t<Int>;
  const auto last = static_cast<Bits>(std::min<int64_t>(rows - 1, std::numeric_limits<Int>::max()));
  Bits signs = 0;
  for (int64_t j = 0; j < indices; ++j) {
    const auto bits = static_cast<Bits>(index[j]);
    signs |= bits | (last - bits);
  }
  return static_cast<Int>(signs) >= 0;
}

}  // namespace

template <class Int>
std::string wrong_bags(const Bags<Int>& p) {
  if (all_in(p.index, p.indices, p.table.rows)) return p.offsets ? wrong_offsets(p) : "";
  const Int* wrong = std::find_if_not(p.index, p.index + p.indices, [&](Int i) { return all_in(&i, 1, p.table.rows); });
  return "an embedding of " + std::to_string(p.table.rows) + " rows takes indices in 0.." +
         std::to_string(p.table.rows - 1) + ", not " + std::to_string(*wrong);
}

template <class Int>
void embedding_bags(const Bags<Int>& p, float* y, Isa isa, int threads) {
  const EmbeddingKernels& kernels = kernels_of(kRows, isa);
  const int worth = worthwhile_threads((p.indices + p.bags) * p.table.width * 4, threads);
  parallel_for(p.bags, worth, [&](int64_t begin, int64_t end) { run(kernels, p, y, begin, end); });
}

template std::string wrong_bags(const Bags<int32_t>&);
template std::string wrong_bags(const Bags<int64_t>&);
template void embedding_bags(const Bags<int32_t>&, float*, Isa, int);
template void embedding_bags(const Bags<int64_t>&, float*, Isa, int);

}  // namespace fxquant
