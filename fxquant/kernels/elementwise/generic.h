// The loops of all operations, over the byte vectors of an ISA (base/bytes_x86.h). Include after the header that
// defines with_bytes.
//
// The first operand of a fast plane has a byte for every element. The second one may also have one byte a column, as
// the gates of squeeze-and-excitation do in channels_last, or one byte a row, as they do in contiguous images.
#pragma once
#include "base/unroll.h"
#include "elementwise/strided.h"

namespace fxquant {
namespace {

// From operands, float(byte - zero_point), to what is rounded. All is exact but the products with multipliers and the
// sum: differences of bytes and their products are below 2^24.
template <class V>
struct AddFloats {
  using F = typename V::Float;
  F a_multiplier, b_multiplier;
  explicit AddFloats(const Add& p) : a_multiplier(V::splat(p.a_multiplier)), b_multiplier(V::splat(p.b_multiplier)) {}
  FXQUANT_UNROLLED F second(F b) const { return V::mul(b, b_multiplier); }
  FXQUANT_UNROLLED F operator()(F a, F second) const { return V::add(V::mul(a, a_multiplier), second); }
};

template <class V>
struct MulFloats {
  using F = typename V::Float;
  F multiplier;
  explicit MulFloats(const Mul& p) : multiplier(V::splat(p.multiplier)) {}
  FXQUANT_UNROLLED F second(F b) const { return b; }
  FXQUANT_UNROLLED F operator()(F a, F second) const { return V::mul(V::mul(a, second), multiplier); }
};

template <class V>
struct MaximumFloats : AddFloats<V> {
  using F = typename V::Float;
  using AddFloats<V>::AddFloats;
  FXQUANT_UNROLLED F operator()(F a, F second) const { return V::max(V::mul(a, this->a_multiplier), second); }
};

template <class V>
struct MinimumFloats : AddFloats<V> {
  using F = typename V::Float;
  using AddFloats<V>::AddFloats;
  FXQUANT_UNROLLED F operator()(F a, F second) const { return V::min(V::mul(a, this->a_multiplier), second); }
};

template <class V>
struct DivFloats {
  using F = typename V::Float;
  F multiplier;
  bool exchanged;
  explicit DivFloats(const Div& p) : multiplier(V::splat(p.multiplier)), exchanged(p.exchanged) {}
  FXQUANT_UNROLLED F second(F b) const { return b; }
  FXQUANT_UNROLLED F operator()(F a, F second) const {
    return V::mul(exchanged ? V::div(second, a) : V::div(a, second), multiplier);
  }
};

enum class Each { element, column, row };

// The second operand of a block, four vectors of it at a time.
template <class V, class Op, Each kEach>
class Second {
  using Float = typename V::Float;

 public:
  Second(const Op& op, const uint8_t* p, int64_t step, int count, int32_t zero_point)
      : op_(op), p_(p), step_(step), count_(count), base_(V::splat(above_base(zero_point))) {
    if constexpr (kEach == Each::column) load(V::load(p, count));
  }
  FXQUANT_UNROLLED void next_row() {
    if constexpr (kEach == Each::element) load(V::load(p_, count_));
    if constexpr (kEach == Each::row) load(V::splat_8(*p_));
    p_ += step_;
  }
  template <int Part>
  FXQUANT_UNROLLED Float part() const {
    return part_[Part];
  }

 private:
  FXQUANT_UNROLLED void load(typename V::Int bytes) {
    unroll<4>([&](auto v) FXQUANT_UNROLLED { part_[v] = op_.second(centered<V, v>(bytes, base_)); });
  }
  const Op& op_;
  const uint8_t* p_;
  int64_t step_;
  int count_;
  Float base_, part_[4];
};

// What the blocks of a plane share, in registers.
template <class V, class Op>
struct Shared {
  const Op op;
  const Saturate<V> saturate;
  const typename V::Float base;
  template <class Params>
  explicit Shared(const Params& p) : op(p), saturate(p.output), base(V::splat(above_base(p.a_zero_point))) {}
};

// `count` columns of all rows of a plane. Bounded: no value leaves int32 when it is rounded.
template <bool kBounded, class V, class Op, class Operand>
FXQUANT_UNROLLED inline void elementwise_block(const Plane<3>& plane, uint8_t* y, const uint8_t* a, Operand second,
                                               int count, const Shared<V, Op>& shared) {
  for (int64_t r = 0; r < plane.rows; ++r, y += plane.row[0], a += plane.row[1]) {
    const auto bytes = V::load(a, count);
    second.next_row();
    typename V::Int rounded[4];
    unroll<4>([&](auto v) FXQUANT_UNROLLED {
      const auto value = shared.op(centered<V, v>(bytes, shared.base), second.template part<v>());
      rounded[v] = kBounded ? V::round(value) : shared.saturate.round(value);
    });
    const auto low = shared.saturate.words(rounded[0], rounded[1]);
    const auto high = shared.saturate.words(rounded[2], rounded[3]);
    V::store(y, shared.saturate.bytes(low, high), count);
  }
}

template <bool kBounded, Each kEach, template <class> class Op, class Params>
void elementwise_blocks(const Plane<3>& plane, uint8_t* y, const uint8_t* a, const uint8_t* b, const Params& params) {
  for (int64_t i = 0; i < plane.length;) {
    with_bytes(plane.length - i, [&](auto bytes) FXQUANT_UNROLLED {
      using V = decltype(bytes);
      const Shared<V, Op<V>> shared(params);
      do {
        const int64_t left = plane.length - i;
        const int count = static_cast<int>(left < V::kWidth ? left : V::kWidth);
        const Second<V, Op<V>, kEach> second(shared.op, kEach == Each::row ? b : b + i, plane.row[2], count,
                                             params.b_zero_point);
        elementwise_block<kBounded>(plane, y + i, a + i, second, count, shared);
        i += count;
      } while (plane.length - i >= V::kWidth);
    });
  }
}

// Whether all values that are rounded lie well inside int32; false for a NaN.
inline float magnitude(float v) { return v < 0 ? -v : v; }
inline bool bounded(const Add& p) { return 255 * (magnitude(p.a_multiplier) + magnitude(p.b_multiplier)) < 1 << 30; }
inline bool bounded(const Mul& p) { return 255 * 255 * magnitude(p.multiplier) < 1 << 30; }
inline bool bounded(const Div&) { return false; }  // by 0

template <Each kEach, template <class> class Op, class Params>
void elementwise_bands(const Plane<3>& plane, uint8_t* y, const uint8_t* a, const uint8_t* b, const Params& params) {
  constexpr int64_t kBand = 64;  // rows: many for the second operand of columns to pay, few enough to stay in L1
  Plane<3> band = plane;
  for (int64_t r = 0; r < plane.rows; r += kBand) {
    band.rows = plane.rows - r < kBand ? plane.rows - r : kBand;
    const auto run =
        bounded(params) ? elementwise_blocks<true, kEach, Op, Params> : elementwise_blocks<false, kEach, Op, Params>;
    run(band, y + r * plane.row[0], a + r * plane.row[1], b + r * plane.row[2], params);
  }
}

// Sums, products and extremes commute, rounding included.
inline void exchange(Add& p) { p = {p.b_multiplier, p.a_multiplier, p.b_zero_point, p.a_zero_point, p.output}; }
inline void exchange(Mul& p) { p = {p.multiplier, p.b_zero_point, p.a_zero_point, p.output}; }

inline void exchange(Div& p) { p = {p.multiplier, p.b_zero_point, p.a_zero_point, p.output, !p.exchanged}; }

template <class Params>
void exchange_operands(Plane<3>& plane, const uint8_t*& a, const uint8_t*& b, Params& params) {
  const uint8_t* first = a;
  const int64_t row = plane.row[1], step = plane.step[1];
  a = b;
  plane.row[1] = plane.row[2];
  plane.step[1] = plane.step[2];
  b = first;
  plane.row[2] = row;
  plane.step[2] = step;
  exchange(params);
}

// `count` bytes side by side: those at `p`, or a copy of them in `buffer`.
inline const uint8_t* side_by_side(const uint8_t* p, int64_t step, int64_t count, uint8_t* buffer) {
  if (step == 1) return p;
  for (int64_t i = 0; i < count; ++i) buffer[i] = p[i * step];
  return buffer;
}

// Planes of any strides, brought together and scattered in pieces of rows.
template <template <class> class Op, class Params>
void elementwise_gathered(const Plane<3>& plane, uint8_t* y, const uint8_t* a, const uint8_t* b, const Params& params) {
  constexpr int64_t kPiece = 512;
  uint8_t y_buffer[kPiece], a_buffer[kPiece], b_buffer[kPiece];
  Plane<3> piece;
  for (int64_t i = 0; i < plane.length; i += kPiece) {
    piece.length = plane.length - i < kPiece ? plane.length - i : kPiece;
    const uint8_t* b_piece = nullptr;
    for (int64_t r = 0; r < plane.rows; ++r) {
      uint8_t* to = y + r * plane.row[0] + i * plane.step[0];
      const uint8_t* a_row = a + r * plane.row[1] + i * plane.step[1];
      const uint8_t* b_row = b + r * plane.row[2] + i * plane.step[2];
      const uint8_t* a_piece = side_by_side(a_row, plane.step[1], piece.length, a_buffer);
      if (r == 0 || plane.row[2] != 0) b_piece = side_by_side(b_row, plane.step[2], piece.length, b_buffer);
      uint8_t* y_piece = plane.step[0] == 1 ? to : y_buffer;
      elementwise_bands<Each::element, Op>(piece, y_piece, a_piece, b_piece, params);
      if (y_piece == to) continue;
      for (int64_t k = 0; k < piece.length; ++k) to[k * plane.step[0]] = y_piece[k];
    }
  }
}

// From so many bytes on, a row is worth being brought together.
constexpr int64_t kWorthGathering = 16;

template <template <class> class Op, class Params>
void elementwise_plane(const Plane<3>& given, uint8_t* y, const uint8_t* a, const uint8_t* b,
                       const Params& given_params) {
  Plane<3> plane = given;
  Params params = given_params;
  if (plane.step[2] == 1 && (plane.step[1] != 1 || plane.row[1] == 0)) exchange_operands(plane, a, b, params);
  if (plane.step[0] != 1 || plane.step[1] != 1 || plane.step[2] > 1) {
    if (plane.length < kWorthGathering) return elementwise_strided(plane, y, a, b, params);
    elementwise_gathered<Op>(plane, y, a, b, params);
  } else if (plane.step[2] == 0) {
    elementwise_bands<Each::row, Op>(plane, y, a, b, params);
  } else if (plane.row[2] == 0 && plane.rows > 1) {
    elementwise_bands<Each::column, Op>(plane, y, a, b, params);
  } else {
    elementwise_bands<Each::element, Op>(plane, y, a, b, params);
  }
}

inline constexpr ElementwiseKernels elementwise_table() {
  return {elementwise_plane<AddFloats, Add>, elementwise_plane<MulFloats, Mul>,
          elementwise_plane<MaximumFloats, Maximum>, elementwise_plane<MinimumFloats, Minimum>,
          elementwise_plane<DivFloats, Div>};
}

}  // namespace
}  // namespace fxquant
