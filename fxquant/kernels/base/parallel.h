// Fork-join over a range, on the OpenMP pool that torch already runs (same soname, so one pool in the process).
#pragma once
#include <omp.h>

#include <cstdint>

namespace fxquant {
namespace {

// The threads, of `threads`, that elementwise work on so many bytes keeps busy: below 32 KB each, one costs more to
// wake than it saves.
inline int worthwhile_threads(int64_t bytes, int threads) {
  const int64_t most = bytes / (1 << 15) + 1;
  return most < threads ? static_cast<int>(most) : threads;
}

// Calls body(begin, end) on at most `threads` threads, each with one contiguous part of [0, count), parts as even as
// possible. The partition depends on count and threads alone, never on timing.
template <class Body>
void parallel_for(int64_t count, int threads, const Body& body) {
  const int64_t parts = threads < count ? threads : count;
  if (parts <= 1) {
    if (count > 0) body(static_cast<int64_t>(0), count);
    return;
  }
#pragma omp parallel num_threads(static_cast<int>(parts))
  {
    const int64_t part = omp_get_thread_num(), of = omp_get_num_threads();
    const int64_t begin = count * part / of, end = count * (part + 1) / of;
    if (begin < end) body(begin, end);
  }
}

}  // namespace
}  // namespace fxquant
