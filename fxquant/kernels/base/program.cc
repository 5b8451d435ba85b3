#include "base/program.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <new>

#include "base/parallel.h"

namespace fxquant {
namespace {

constexpr int64_t kPage = 4096;
// What the rows that joined steps take at a time may read and write, where most is written by one step and read by the
// next one, and how many rows these are at most: whole fours, if as many, since some kernels take four rows at once.
constexpr int64_t kCachedBytes = 128 * 1024, kMostRows = 16, kFew = 4;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

Step step_of(std::vector<RowStep> steps) {
  const int64_t rows = steps.front().rows;
  int64_t bytes = 0;
  for (const RowStep& step : steps) bytes += step.row_bytes;
  const int64_t cached = std::clamp(kCachedBytes / std::max(bytes, int64_t{1}), int64_t{1}, kMostRows);
  const int64_t together = steps.size() == 1 ? rows : cached < kFew ? cached : cached / kFew * kFew;
  return [=, all = std::move(steps)](const Frame& frame) {
    parallel_for(rows, worthwhile_threads(rows * bytes, frame.threads), [&](int64_t begin, int64_t end) {
      for (int64_t first = begin; first < end; first += together) {
        for (const RowStep& step : all) step.run(frame, first, std::min(first + together, end));
      }
    });
  };
}

void Program::add(Step step) {
  const bool behind_shares = !steps_.empty() && steps_.back().shared;
  steps_.push_back({{std::move(step)}, false, behind_shares ? size() : 0});
  row_steps_.clear();
}

void Program::add(RowStep step) {
  std::vector<RowStep> rows = std::move(row_steps_);
  add(step_of({step}));
  row_steps_ = std::move(rows);
  row_steps_.push_back(std::move(step));
}

void Program::share(int64_t count, int64_t after) {
  if (count < 1 || count > size()) throw std::invalid_argument("there are not so many steps");
  Planned shared{{}, true, after};
  for (auto step = steps_.end() - count; step != steps_.end(); ++step) shared.shares.push_back(step->shares.front());
  steps_.resize(steps_.size() - static_cast<size_t>(count));
  steps_.push_back(std::move(shared));
  row_steps_.clear();
}

void Program::join(int64_t count) {
  const auto available = static_cast<int64_t>(row_steps_.size());
  if (count < 1 || count > available) throw std::invalid_argument("there are not so many steps of rows");
  std::vector<RowStep> joined(row_steps_.end() - count, row_steps_.end());
  for (const RowStep& step : joined) {
    if (step.rows != joined.front().rows) throw std::invalid_argument("steps with other numbers of rows");
  }
  steps_.resize(steps_.size() - static_cast<size_t>(count));
  add(step_of(std::move(joined)));
}

void Program::Free::operator()(void* memory) const { std::free(memory); }

std::unique_ptr<Program::Arena> Program::take() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!arenas_.empty()) {
      std::unique_ptr<Arena> arena = std::move(arenas_.back());
      arenas_.pop_back();
      return arena;
    }
    ++made_;
  }
  auto arena = std::make_unique<Arena>();
  const int64_t bytes = (arena_bytes_ + kPage - 1) / kPage * kPage;
  arena->memory.reset(std::aligned_alloc(kPage, static_cast<size_t>(bytes > 0 ? bytes : kPage)));
  if (!arena->memory) throw std::bad_alloc();
  arena->bases.resize(static_cast<size_t>(externals_) + 1);
  arena->bases[0] = reinterpret_cast<uintptr_t>(arena->memory.get());
  return arena;
}

void Program::give(std::unique_ptr<Arena> arena) {
  const std::lock_guard<std::mutex> lock(mutex_);
  arenas_.push_back(std::move(arena));
}

void Program::run_parts(int workers, int threads, int64_t parts, const std::vector<uintptr_t>& addresses,
                        const std::vector<int64_t>& distances, double* seconds) {
  std::vector<std::unique_ptr<Arena>> arenas;
  for (int i = 0; i < workers; ++i) arenas.push_back(take());
  std::atomic<bool> out_of_range{false};
  const auto work = [&](int64_t worker) {
    uintptr_t* bases = arenas[static_cast<size_t>(worker)]->bases.data();
    for (int64_t part = parts * worker / workers; part < parts * (worker + 1) / workers; ++part) {
      for (size_t i = 0; i < addresses.size(); ++i) {
        bases[i + 1] = addresses[i] + static_cast<uintptr_t>(part * distances[i]);
      }
      run_steps({bases, threads, &out_of_range}, arenas[static_cast<size_t>(worker)]->progress,
                worker == 0 ? seconds : nullptr);
    }
  };
  parallel_for(workers, workers, [&](int64_t begin, int64_t end) {
    for (int64_t worker = begin; worker < end; ++worker) work(worker);
  });
  for (std::unique_ptr<Arena>& arena : arenas) give(std::move(arena));
  if (out_of_range.load(std::memory_order_relaxed)) throw std::out_of_range("index out of range");
}

void Program::run_step(size_t index, const Frame& frame, Progress& progress) const {
  const Planned& step = steps_[index];
  if (!member.barrier) {
    for (const Step& share : step.shares) share(frame);
    return;
  }
  progress.wait(step.after);
  if (!step.shared) return step.shares.front()(frame);
  const Member place = member;
  member = {};
  for (auto i = static_cast<size_t>(place.index); i < step.shares.size(); i += static_cast<size_t>(place.size)) {
    step.shares[i]({frame.bases, 1, frame.out_of_range});
  }
  member = place;
  progress.finish(static_cast<int64_t>(index) + 1);
}

void Program::run_steps(const Frame& frame, Progress& progress, double* seconds) const {
  const auto all = [&] {
    double start = seconds && member.index == 0 ? now() : 0.0;
    for (size_t i = 0; i < steps_.size(); ++i) {
      run_step(i, frame, progress);
      if (seconds && member.index == 0) {
        const double end = now();
        seconds[i] += end - start;
        start = end;
      }
    }
  };
  if (frame.threads > 1) {
    progress.reset(frame.threads);
    run_team(frame.threads, all);
  } else {
    all();
  }
}

}  // namespace fxquant
