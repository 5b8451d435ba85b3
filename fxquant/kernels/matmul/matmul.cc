#include "matmul/matmul.h"

#include "base/parallel.h"

namespace fxquant {

#define KERNELS(isa, table) extern const MatmulKernels table;
#include "matmul/kernels.inc"
#undef KERNELS

namespace {

const MatmulKernels& matmul_kernels(Isa isa) {
  switch (isa) {
#define KERNELS(name, table) \
  case Isa::name:            \
    return table;
#include "matmul/kernels.inc"
#undef KERNELS
  FXQUANT_FOREIGN_ISAS:
    break;
  }
  return matmul_scalar;
}

// Threads are worth their fork and join (a microsecond or two) from this many multiply-adds each.
constexpr int64_t kThreadWork = 1 << 18;
// A block of fewer rows packs more than it multiplies.
constexpr int64_t kBlockRows = 28;

// Whole batches where there are enough of them, else blocks of their rows.
template <class Body>
void run_parts(int64_t batches, int64_t rows, int64_t work, int threads, uint8_t* scratch, int64_t scratch_bytes,
               const Body& body) {
  const int64_t worth = work / kThreadWork + 1, most = worth < threads ? worth : threads;
  const int64_t enough = batches > 0 ? (most + batches - 1) / batches : 1, most_blocks = rows / kBlockRows + 1;
  const int64_t blocks = enough < most_blocks ? enough : most_blocks, items = batches * blocks;
  const int64_t parts = items < most ? items : most;
  parallel_for(parts, static_cast<int>(parts), [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      body(MatmulPart{items * part / parts, items * (part + 1) / parts, blocks, scratch + part * scratch_bytes});
    }
  });
}

}  // namespace

int64_t matmul_scratch(const Matmul& params, Isa isa) { return matmul_kernels(isa).matmul_scratch(params); }

int64_t attention_scratch(const Attention& params, Isa isa) { return matmul_kernels(isa).attention_scratch(params); }

void matmul(const Matmul& p, const MatmulOperands& operands, uint8_t* scratch, Isa isa, int threads) {
  const MatmulKernels& kernels = matmul_kernels(isa);
  const int64_t batches = p.rows * p.columns > 0 ? p.batches.count : 0, work = batches * p.rows * p.columns * p.depth;
  run_parts(batches, p.rows, work, threads, scratch, kernels.matmul_scratch(p),
            [&](const MatmulPart& part) { kernels.matmul(p, operands, part); });
}

void attention(const Attention& p, const AttentionOperands& operands, uint8_t* scratch, Isa isa, int threads) {
  const MatmulKernels& kernels = matmul_kernels(isa);
  const int64_t batches = p.queries * p.width > 0 ? p.batches.count : 0;
  const int64_t work = batches * p.queries * p.keys * (p.depth + p.width);
  run_parts(batches, p.queries, work, threads, scratch, kernels.attention_scratch(p),
            [&](const MatmulPart& part) { kernels.attention(p, operands, part); });
}

}  // namespace fxquant
