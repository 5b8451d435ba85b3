// Loops that are unrolled by construction, so that an array indexed by the counter stays in registers.
#pragma once

#define FXQUANT_UNROLLED __attribute__((always_inline))

namespace fxquant {
namespace {

template <int I>
struct Index {
  constexpr operator int() const { return I; }
};

// body(Index<0>{}), ..., body(Index<Count - 1>{}); mark the lambda FXQUANT_UNROLLED.
template <int Count, class Body>
inline __attribute__((always_inline)) void unroll(const Body& body) {
  if constexpr (Count > 0) {
    unroll<Count - 1>(body);
    body(Index<Count - 1>{});
  }
}

}  // namespace
}  // namespace fxquant
