// Waiting for what another thread is about to do.
#pragma once
#include <thread>

namespace fxquant {
namespace {

// About 20 us: threads come to the same point together, so whoever waits longer waits for one that has lost its core.
constexpr int kSpins = 1000;

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Returns when ready() is true.
template <class Ready>
void spin_until(const Ready& ready) {
  for (int spins = 0; !ready(); ++spins) {
    if (spins < kSpins) {
      relax();
    } else {
      std::this_thread::yield();
    }
  }
}

}  // namespace
}  // namespace fxquant
