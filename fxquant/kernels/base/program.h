// A program: kernel calls in a row whose operands lie in one arena, in its inputs or in its outputs.
//
// A step is a kernel call with everything resolved but the addresses that a run brings along: no shape is looked at, no
// memory allocated while a program runs. Each run has an arena of its own, so that several threads may run one program
// at once; arenas are kept for the next run.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <vector>

#include "base/progress.h"

namespace fxquant {

// `offset` bytes behind base number `base` of a run (0: the arena, then inputs, then outputs); base < 0: an address.
struct Place {
  int64_t base = -1, offset = 0;
};

// The addresses and the number of threads of one run; a step raises the flag for an index that is out of range.
struct Frame {
  const uintptr_t* bases = nullptr;
  int threads = 1;
  std::atomic<bool>* out_of_range = nullptr;

  template <class T>
  T* at(const Place& place) const {
    const uintptr_t base = place.base < 0 ? 0 : bases[place.base];
    return reinterpret_cast<T*>(base + static_cast<uintptr_t>(place.offset));
  }
};

using Step = std::function<void(const Frame& frame)>;

// A step that computes each row by itself, rows [begin, end) at a time; a row reads and writes so many bytes.
struct RowStep {
  int64_t rows = 0, row_bytes = 0;
  std::function<void(const Frame& frame, int64_t begin, int64_t end)> run;
};

// Some rows of all `steps`, which have as many rows, then some more: what a step writes is still in the L1 cache when
// the next one reads it.
Step step_of(std::vector<RowStep> steps);

class Program {
 public:
  // `externals`: how many addresses a run brings along.
  Program(int64_t arena_bytes, int64_t externals) : arena_bytes_(arena_bytes), externals_(externals) {}

  void add(Step step);
  void add(RowStep step);
  // Makes one step of the last `count` ones. Throws std::invalid_argument unless they are RowSteps of as many rows.
  void join(int64_t count);
  // Makes one step of the last `count` ones, which the threads share out: thread i of a team runs number i, alone, once
  // all others have finished the first `after` steps of the program. Throws std::invalid_argument if there are fewer.
  void share(int64_t count, int64_t after);

  // Runs all steps on `threads` threads. fill(bases) writes the addresses. Throws std::out_of_range, when all have run,
  // if an index of a gather was.
  template <class Fill>
  void run(int threads, const Fill& fill) {
    std::unique_ptr<Arena> arena = take();
    fill(arena->bases.data() + 1);
    std::atomic<bool> out_of_range{false};
    run_steps({arena->bases.data(), threads, &out_of_range}, arena->progress, nullptr);
    give(std::move(arena));
    if (out_of_range.load(std::memory_order_relaxed)) throw std::out_of_range("index out of range");
  }

  // As run, `parts` times: from one to the next, address i is distances[i] bytes further. So many `workers` share the
  // runs, each on `threads` threads in an arena of its own. With `seconds`, one entry a step, the time that the first
  // worker takes for each step is added to it.
  void run_parts(int workers, int threads, int64_t parts, const std::vector<uintptr_t>& addresses,
                 const std::vector<int64_t>& distances, double* seconds = nullptr);

  int64_t externals() const { return externals_; }
  int64_t size() const { return static_cast<int64_t>(steps_.size()); }
  int64_t arena_bytes() const { return arena_bytes_; }
  int64_t arenas() const { return made_; }  // how many runs there were at once, at most

 private:
  struct Free {
    void operator()(void* memory) const;
  };
  struct Arena {
    std::unique_ptr<void, Free> memory;
    std::vector<uintptr_t> bases;
    Progress progress;
  };
  // One step, or several that threads share out. A thread begins when all others have finished the first `after` ones.
  struct Planned {
    std::vector<Step> shares;
    bool shared = false;
    int64_t after = 0;
  };

  std::unique_ptr<Arena> take();
  void give(std::unique_ptr<Arena> arena);
  void run_steps(const Frame& frame, Progress& progress, double* seconds) const;
  void run_step(size_t index, const Frame& frame, Progress& progress) const;

  int64_t arena_bytes_, externals_, made_ = 0;
  std::vector<Planned> steps_;
  std::vector<RowStep> row_steps_;  // behind the last step that is none
  std::mutex mutex_;
  std::vector<std::unique_ptr<Arena>> arenas_;
};

}  // namespace fxquant
