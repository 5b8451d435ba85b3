// Loops that are unrolled by construction, so that an array indexed by the counter stays in registers.
#pragma once

#ifndef FXQUANT_UNROLLED  // which the sanitized build defines as nothing
#define FXQUANT_UNROLLED __attribute__((always_inline))
#endif

namespace fxquant {
namespace {

template <int I>
struct Index {
  constexpr operator int() const { return I; }
};

// body(Index<0>{}), ..., body(Index<Count - 1>{}); mark the lambda FXQUANT_UNROLLED.
template <int Count, class Body>
FXQUANT_UNROLLED inline void unroll(const Body& body) {
  if constexpr (Count > 0) {
    unroll<Count - 1>(body);
    body(Index<Count - 1>{});
  }
}

// `p`, of which the compiler knows nothing: what it points to is read where it is used. Read ahead of a loop over
// tiles, terms that all of them share would take the registers of accumulators.
template <class T>
FXQUANT_UNROLLED inline const T* unread(const T* p) {
  asm volatile("" : "+r"(p));
  return p;
}

}  // namespace
}  // namespace fxquant
