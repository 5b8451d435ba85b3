#include "embedding/embedding.h"

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

}  // namespace

template <class Int>
std::string wrong_bags(const Bags<Int>& p) {
  const int64_t rows = p.table.rows;
  for (int64_t j = 0; j < p.indices; ++j) {
    const auto index = static_cast<int64_t>(p.index[j]);
    if (index >= 0 && index < rows) continue;
    return "an embedding of " + std::to_string(rows) + " rows takes indices in 0.." + std::to_string(rows - 1) +
           ", not " + std::to_string(index);
  }
  return p.offsets ? wrong_offsets(p) : "";
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
