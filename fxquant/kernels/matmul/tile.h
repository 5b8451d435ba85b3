// Tiles of a product with an operand that is packed at run time. A Machine is an ISA's dot products
// (base/dot_scalar.h).
//
// Packed, b is cut into panels of kColumns columns: column terms, int32 [columns], then for each step of four k, int8
// [columns][4]: b - 128, and 0 where k or the column is padding. Of the product of centered operands,
//   sum (a - z_a) * (b - z_b) = sum a * (b - 128)  -  z_a * sum (b - 128)  +  (128 - z_b) * (sum a - depth * z_a)
// the second term is the column's and the third the row's, so both are where the accumulators begin.
#pragma once
#include <cstdint>
#include <cstring>

#include "base/few_bytes.h"
#include "base/unroll.h"
#include "matmul/matmul.h"

namespace fxquant {
namespace {

template <class M>
constexpr int64_t kColumns = M::kCount * M::kVectors;

inline int64_t rounded_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

// k [0, depth) and columns [0, columns) of the right operand.
struct RightOperand {
  const uint8_t* data;
  int64_t depth, columns;
  Matrix strides;
};

template <class M>
int64_t panel_bytes(int64_t depth) {
  return kColumns<M> * 4 * (1 + (depth + 3) / 4);
}

template <class M>
int64_t packed_bytes(int64_t depth, int64_t columns) {
  return rounded_up((columns + kColumns<M> - 1) / kColumns<M> * panel_bytes<M>(depth), 64);
}

// Four k from `k` on of columns [0, count) to dwords: whole vectors where both lie in rows, else byte by byte.
template <class M>
void pack_step(const RightOperand& b, int64_t first, int64_t count, int64_t k, uint8_t* to) {
  const int64_t depth = b.depth - k < 4 ? b.depth - k : 4;
  const uint8_t* from = b.data + k * b.strides.row + first * b.strides.column;
  int64_t c = 0;
  if (depth == 4 && b.strides.row == 1) {
    for (; c < count; ++c) std::memcpy(to + 4 * c, from + c * b.strides.column, 4);
  } else if (depth == 4 && b.strides.column == 1) {
    const uint8_t* row[4] = {from, from + b.strides.row, from + 2 * b.strides.row, from + 3 * b.strides.row};
    for (; c + M::kCount <= count; c += M::kCount) {
      M::interleave(row, to + 4 * c);
      for (const uint8_t*& r : row) r += M::kCount;
    }
  }
  for (; c < count; ++c) {
    for (int64_t i = 0; i < depth; ++i) to[4 * c + i] = from[i * b.strides.row + c * b.strides.column];
  }
}

// As many k as whole vectors of columns allow, where a column's lie side by side. Returns how many.
template <class M>
int64_t pack_columns(const RightOperand& b, int64_t first, int64_t count, uint8_t* to) {
  if (b.strides.row != 1 || count < kColumns<M>) return 0;
  const uint8_t* from = b.data + first * b.strides.column;
  int64_t k = 0;
  for (; k + 16 <= b.depth; k += 16) {
    for (int64_t c = 0; c < kColumns<M>; c += M::kCount) {
      M::gather(from + c * b.strides.column + k, b.strides.column, to + k * kColumns<M> + 4 * c, 4 * kColumns<M>);
    }
  }
  return k;
}

template <class M>
void pack_panel(const RightOperand& b, int64_t first, int32_t a_zero_point, uint8_t* panel) {
  uint8_t* weights = panel + 4 * kColumns<M>;
  const int64_t rest = b.columns - first, count = rest < kColumns<M> ? rest : kColumns<M>;
  const int64_t bytes = panel_bytes<M>(b.depth) - 4 * kColumns<M>;
  if (count < kColumns<M>) std::memset(weights, 128, static_cast<size_t>(bytes));
  if (b.depth % 4 != 0) std::memset(weights + bytes - 4 * kColumns<M>, 128, static_cast<size_t>(4 * kColumns<M>));
  for (int64_t k = pack_columns<M>(b, first, count, weights); k < b.depth; k += 4) {
    pack_step<M>(b, first, count, k, weights + k * kColumns<M>);
  }
  for (int64_t i = 0; i < bytes; ++i) weights[i] ^= 128;
  typename M::Acc sums[M::kVectors];
  unroll<M::kVectors>([&](auto v) FXQUANT_UNROLLED { sums[v] = M::splat_i32(0); });
  const auto ones = M::broadcast(0x01010101);
  for (int64_t at = 0; at < bytes; at += 4 * kColumns<M>) {
    unroll<M::kVectors>([&](auto v) FXQUANT_UNROLLED {
      sums[v] = M::dot(sums[v], ones, M::weights(weights + at + 4 * M::kCount * v));
    });
  }
  int32_t terms[kColumns<M>];
  unroll<M::kVectors>([&](auto v) FXQUANT_UNROLLED { M::store_i32(terms + M::kCount * v, sums[v]); });
  for (int32_t& term : terms) term *= -a_zero_point;
  std::memcpy(panel, terms, sizeof terms);
}

template <class M>
void pack(const RightOperand& b, int32_t a_zero_point, uint8_t* packed) {
  for (int64_t first = 0; first < b.columns; first += kColumns<M>, packed += panel_bytes<M>(b.depth)) {
    pack_panel<M>(b, first, a_zero_point, packed);
  }
}

// The same for keys: what pads the last panel is its last column, so that no score of it is larger than all others.
template <class M>
void pack_keys(const RightOperand& keys, int32_t q_zero_point, uint8_t* packed) {
  pack<M>(keys, q_zero_point, packed);
  const int64_t used = keys.columns % kColumns<M>, dwords = panel_bytes<M>(keys.depth) / 4;
  if (used == 0) return;
  auto* panel = reinterpret_cast<uint32_t*>(packed) + keys.columns / kColumns<M> * dwords;
  for (int64_t at = 0; at < dwords; at += kColumns<M>) {
    for (int64_t c = used; c < kColumns<M>; ++c) panel[at + c] = panel[at + used - 1];
  }
}

template <class M>
int32_t sum_of(const uint8_t* p, int64_t count) {
  auto sums = M::splat_i32(0);
  int64_t i = 0;
  for (; i + 4 * M::kCount <= count; i += 4 * M::kCount) sums = M::dot(sums, M::activations(p + i), M::ones());
  int32_t sum = M::total(sums);
  for (; i < count; ++i) sum += p[i];
  return sum;
}

// The third term above.
template <class M>
int32_t row_term(const uint8_t* a, int64_t depth, int32_t a_zero_point, int32_t b_zero_point) {
  if (b_zero_point == 128) return 0;
  return (128 - b_zero_point) * (sum_of<M>(a, depth) - static_cast<int32_t>(depth) * a_zero_point);
}

// What is done between the steps of a product: nothing.
struct Nothing {
  FXQUANT_UNROLLED void operator()() const {}
};

// acc = the product of Rows rows of `a`, `stride` apart, with a panel; row_terms[m] is added to row m. `between` is
// called behind every step of four k.
template <class M, int Rows, class Between = Nothing>
FXQUANT_UNROLLED inline void multiply(typename M::Acc (&acc)[Rows][M::kVectors], const uint8_t* a, int64_t stride,
                                      int64_t depth, const int32_t* row_terms, const uint8_t* panel,
                                      const Between& between = {}) {
  row_terms = unread(row_terms);
  unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
    const auto term = M::splat_i32(row_terms[m]);
    unroll<M::kVectors>([&](auto v) FXQUANT_UNROLLED {
      const auto* columns = reinterpret_cast<const int32_t*>(panel) + M::kCount * v;
      acc[m][v] = M::add_i32(M::load_i32(columns), term);
    });
  });
  const uint8_t* weights = panel + 4 * kColumns<M>;
  const auto step = [&](const auto& load) FXQUANT_UNROLLED {
    typename M::Weights b[M::kVectors];
    unroll<M::kVectors>([&](auto v) FXQUANT_UNROLLED { b[v] = M::weights(weights + 4 * M::kCount * v); });
    unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
      const auto x = M::broadcast(load(a + m * stride));
      unroll<M::kVectors>([&](auto v) FXQUANT_UNROLLED { acc[m][v] = M::dot(acc[m][v], x, b[v]); });
    });
    weights += 4 * kColumns<M>;
  };
  const int64_t whole = depth / 4 * 4;
  for (int64_t k = 0; k < whole; k += 4) {
    step([&](const uint8_t* row) FXQUANT_UNROLLED { return load_as<uint32_t>(row + k); });
    between();
  }
  if (whole < depth) {
    step([&](const uint8_t* row)
             FXQUANT_UNROLLED { return static_cast<uint32_t>(load_bytes(row + whole, depth - whole)); });
  }
}

// Requantized rows of a tile to y; `columns` of the panel exist.
template <class M, int Rows>
FXQUANT_UNROLLED inline void store_tile(const typename M::Acc (&acc)[Rows][M::kVectors], const float* multipliers,
                                        const typename M::Output& output, uint8_t* y, int64_t stride, int64_t columns) {
  multipliers = unread(multipliers);
  unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
    const auto multiplier = M::set(multipliers[m]);
    unroll<M::kVectors>([&](auto v) FXQUANT_UNROLLED {
      const int64_t left = columns - M::kCount * v, count = left < M::kCount ? left : M::kCount;
      const auto value = M::mul(M::to_float(acc[m][v]), multiplier);
      if (count > 0) M::store_u8(y + m * stride + M::kCount * v, count, value, output);
    });
  });
}

}  // namespace
}  // namespace fxquant
