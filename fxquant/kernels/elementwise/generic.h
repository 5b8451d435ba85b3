// The loops of add and mul, on the lanes L of an ISA (base/lanes_<isa>.h). Included by ISA files only.
#pragma once
#include "base/lanes_scalar.h"
#include "elementwise/elementwise.h"

namespace fxquant {
namespace {

// Differences of uint8 and their products are below 2^24, so float32 holds them exactly.
template <class L>
struct AddLanes {
  typename L::F32 a_zero_point, b_zero_point, a_multiplier, b_multiplier;
  explicit AddLanes(const Add& p)
      : a_zero_point(L::set(static_cast<float>(p.a_zero_point))),
        b_zero_point(L::set(static_cast<float>(p.b_zero_point))),
        a_multiplier(L::set(p.a_multiplier)),
        b_multiplier(L::set(p.b_multiplier)) {}
  typename L::F32 operator()(typename L::F32 a, typename L::F32 b) const {
    return L::add(L::mul(L::sub(a, a_zero_point), a_multiplier), L::mul(L::sub(b, b_zero_point), b_multiplier));
  }
};

template <class L>
struct MulLanes {
  typename L::F32 a_zero_point, b_zero_point, multiplier;
  explicit MulLanes(const Mul& p)
      : a_zero_point(L::set(static_cast<float>(p.a_zero_point))),
        b_zero_point(L::set(static_cast<float>(p.b_zero_point))),
        multiplier(L::set(p.multiplier)) {}
  typename L::F32 operator()(typename L::F32 a, typename L::F32 b) const {
    return L::mul(L::mul(L::sub(a, a_zero_point), L::sub(b, b_zero_point)), multiplier);
  }
};

// An operand along a row: one element after another (step 1), or the same for the whole row (step 0).
template <class L, int kStep>
struct Operand {
  const uint8_t* p;
  typename L::F32 load(int64_t i) const {
    if constexpr (kStep == 1) return L::load_u8(p + i);
    return L::set(static_cast<float>(*p));
  }
  typename L::F32 load(int64_t i, int64_t count) const {
    if constexpr (kStep == 1) return L::load_u8(p + i, count);
    return L::set(static_cast<float>(*p));
  }
};

template <class L, class A, class B, class Op>
void elementwise_row(int64_t length, uint8_t* y, A a, B b, const Op& op, const typename L::Output& output) {
  constexpr int64_t kBlock = 4 * L::kCount;
  int64_t i = 0;
  for (; i + kBlock <= length; i += kBlock) {
    typename L::F32 values[4];
    for (int k = 0; k < 4; ++k) values[k] = op(a.load(i + k * L::kCount), b.load(i + k * L::kCount));
    L::store4_u8(y + i, values, output);
  }
  for (; i < length; i += L::kCount) {
    const int64_t count = length - i < L::kCount ? length - i : L::kCount;
    L::store_u8(y + i, count, op(a.load(i, count), b.load(i, count)), output);
  }
}

template <class L, int kStepA, int kStepB, class Op>
void elementwise_rows(const Plane<3>& plane, uint8_t* y, const uint8_t* a, const uint8_t* b, const Op& op,
                      const Requantize& requantize) {
  const typename L::Output output = L::output(requantize);
  for (int64_t r = 0; r < plane.rows; ++r) {
    elementwise_row<L>(plane.length, y + r * plane.row[0], Operand<L, kStepA>{a + r * plane.row[1]},
                       Operand<L, kStepB>{b + r * plane.row[2]}, op, output);
  }
}

template <class Op>
void elementwise_strided(const Plane<3>& plane, uint8_t* y, const uint8_t* a, const uint8_t* b, const Op& op,
                         const Requantize& output) {
  using L = ScalarLanes;
  for (int64_t r = 0; r < plane.rows; ++r) {
    for (int64_t i = 0; i < plane.length; ++i) {
      const float value = op(L::load_u8(a + r * plane.row[1] + i * plane.step[1]),
                             L::load_u8(b + r * plane.row[2] + i * plane.step[2]));
      L::store_u8(y + r * plane.row[0] + i * plane.step[0], 1, value, output);
    }
  }
}

template <class L, template <class> class Op, class Params>
void elementwise_plane(const Plane<3>& plane, uint8_t* y, const uint8_t* a, const uint8_t* b, const Params& params) {
  const bool a_runs = plane.step[1] == 1, b_runs = plane.step[2] == 1;
  const bool a_stays = plane.step[1] == 0, b_stays = plane.step[2] == 0;
  if (plane.step[0] == 1 && a_runs && b_runs) {
    elementwise_rows<L, 1, 1>(plane, y, a, b, Op<L>(params), params.output);
  } else if (plane.step[0] == 1 && a_runs && b_stays) {
    elementwise_rows<L, 1, 0>(plane, y, a, b, Op<L>(params), params.output);
  } else if (plane.step[0] == 1 && a_stays && b_runs) {
    elementwise_rows<L, 0, 1>(plane, y, a, b, Op<L>(params), params.output);
  } else {
    elementwise_strided(plane, y, a, b, Op<ScalarLanes>(params), params.output);
  }
}

template <class L>
constexpr ElementwiseKernels elementwise_table() {
  return {elementwise_plane<L, AddLanes, Add>, elementwise_plane<L, MulLanes, Mul>};
}

}  // namespace
}  // namespace fxquant
