#include "base/progress.h"

#include "base/parallel.h"
#include "base/spin.h"

namespace fxquant {

void Progress::reset(int size) {
  if (size > capacity_) {
    lines_ = std::make_unique<Line[]>(static_cast<size_t>(size));
    capacity_ = size;
    return;
  }
  for (int i = 0; i < size; ++i) {
    lines_[static_cast<size_t>(i)].finished.store(0, std::memory_order_relaxed);
    lines_[static_cast<size_t>(i)].seen = 0;
  }
}

void Progress::finish(int64_t steps) {
  lines_[static_cast<size_t>(member.index)].finished.store(steps, std::memory_order_release);
}

void Progress::wait(int64_t steps) {
  Line& own = lines_[static_cast<size_t>(member.index)];
  if (own.seen >= steps) return;
  int64_t least = INT64_MAX;
  for (int i = 0; i < member.size; ++i) {
    if (i == member.index) continue;
    const std::atomic<int64_t>& finished = lines_[static_cast<size_t>(i)].finished;
    int64_t now = 0;
    spin_until([&] { return (now = finished.load(std::memory_order_acquire)) >= steps; });
    if (now < least) least = now;
  }
  own.seen = least;
}

}  // namespace fxquant
