// The time of a call.
#pragma once
#include <algorithm>
#include <chrono>

namespace fxquant {

// The least seconds of one call, over about `budget` seconds of calls.
template <class Call>
double best_seconds(double budget, const Call& call) {
  using Clock = std::chrono::steady_clock;
  const auto seconds = [](Clock::duration d) { return std::chrono::duration<double>(d).count(); };
  call();
  double best = 1e9;
  for (const auto start = Clock::now(); seconds(Clock::now() - start) < budget;) {
    const auto before = Clock::now();
    call();
    best = std::min(best, seconds(Clock::now() - before));
  }
  return best;
}

}  // namespace fxquant
