// How many steps of a program each thread of a team has finished, for threads that wait for no more than they must.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>

namespace fxquant {

class Progress {
 public:
  // For a team of at most `size` threads, none of which has finished anything. Before the team is there.
  void reset(int size);
  // The calling member of the team has finished so many steps.
  void finish(int64_t steps);
  // Returns when all other members have finished so many.
  void wait(int64_t steps);

 private:
  // Others read `finished`, so what its thread alone writes lies on another cache line.
  struct Line {
    alignas(64) std::atomic<int64_t> finished{0};
    alignas(64) int64_t seen = 0;  // what all others were seen to have finished
  };

  int capacity_ = 0;
  std::unique_ptr<Line[]> lines_;
};

}  // namespace fxquant
