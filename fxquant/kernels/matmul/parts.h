// How products of batches are shared out to threads.
#pragma once
#include "base/parallel.h"
#include "matmul/matmul.h"

namespace fxquant {
namespace {

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

template <class Body>
void run_matmul_parts(const MatmulLayout& p, int threads, uint8_t* scratch, int64_t scratch_bytes, const Body& body) {
  const int64_t batches = p.rows * p.columns > 0 ? p.batches.count : 0;
  run_parts(batches, p.rows, p.multiply_adds(), threads, scratch, scratch_bytes, body);
}

template <class Body>
void run_attention_parts(const AttentionLayout& p, int threads, uint8_t* scratch, int64_t scratch_bytes,
                         const Body& body) {
  const int64_t batches = p.queries * p.width > 0 ? p.batches.count : 0;
  run_parts(batches, p.queries, p.multiply_adds(), threads, scratch, scratch_bytes, body);
}

}  // namespace
}  // namespace fxquant
