#include "base/program.h"

#include <chrono>
#include <cstdlib>
#include <new>

#include "base/parallel.h"

namespace fxquant {
namespace {

constexpr int64_t kPage = 4096;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

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

void Program::run_steps(const Frame& frame, double* seconds) const {
  const auto all = [&] {
    double start = seconds && member.index == 0 ? now() : 0.0;
    for (size_t i = 0; i < steps_.size(); ++i) {
      steps_[i](frame);
      if (seconds && member.index == 0) {
        const double end = now();
        seconds[i] = end - start;
        start = end;
      }
    }
  };
  if (frame.threads > 1) {
    run_team(frame.threads, all);
  } else {
    all();
  }
}

}  // namespace fxquant
