// Fork-join over a range, on the OpenMP pool that torch already runs (same soname, so one pool in the process).
//
// A team is forked once for a whole program of kernels. Its threads all run the same code; where that comes to a
// parallel_for each takes its part of the range and waits for the others, which costs a tenth of a fork and join.
#pragma once
#include <omp.h>

#include <atomic>
#include <cstdint>

namespace fxquant {

class Barrier {
 public:
  // Returns when all `size` threads are here.
  void wait(int size);

 private:
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<int> phase_{0};
};

// What a thread is within its team; `barrier` is null outside of one.
struct Member {
  Barrier* barrier = nullptr;
  int index = 0, size = 1;
};
extern thread_local Member member;

namespace {

// The threads, of `threads`, that elementwise work on so many bytes keeps busy: below 32 KB each, one costs more to
// wake than it saves.
inline int worthwhile_threads(int64_t bytes, int threads) {
  const int64_t most = bytes / (1 << 15) + 1;
  return most < threads ? static_cast<int>(most) : threads;
}

template <class Body>
void run_share(int64_t count, int64_t part, int64_t of, const Body& body) {
  const int64_t begin = count * part / of, end = count * (part + 1) / of;
  if (begin < end) body(begin, end);
}

// Calls body(begin, end) on at most `threads` threads, each with one contiguous part of [0, count), parts as even as
// possible. The partition depends on count and threads alone, never on timing.
template <class Body>
void parallel_for(int64_t count, int threads, const Body& body) {
  int64_t parts = threads < count ? threads : count;
  if (member.barrier) {
    if (parts > member.size) parts = member.size;
    if (member.index < parts) run_share(count, member.index, parts, body);
    member.barrier->wait(member.size);
    return;
  }
  if (parts <= 1) {
    if (count > 0) body(static_cast<int64_t>(0), count);
    return;
  }
#pragma omp parallel num_threads(static_cast<int>(parts))
  run_share(count, omp_get_thread_num(), omp_get_num_threads(), body);
}

// Calls body() on each of `threads` threads, as a team.
template <class Body>
void run_team(int threads, const Body& body) {
  Barrier barrier;
#pragma omp parallel num_threads(threads)
  {
    const Member outside = member;
    member = {&barrier, omp_get_thread_num(), omp_get_num_threads()};
    body();
    member = outside;
  }
}

}  // namespace
}  // namespace fxquant
