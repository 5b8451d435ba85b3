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
  if (a_zero_point == 0) {
    std::memset(panel, 0, static_cast<size_t>(4 * kColumns<M>));
    return;
  }
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

// A number for each row, and room for whole vectors: what is written in one piece is read in one piece, or a CPU waits
// until it is in the cache.
template <class T, int Rows>
struct PerRow {
  static constexpr int kRows = Rows, kSize = (Rows + 7) / 8 * 8;
  alignas(32) T of[kSize] = {};
};

// The sums of the lanes of each row's vector.
template <class M, int Rows>
FXQUANT_UNROLLED inline void totals_of(const typename M::Acc (&sums)[Rows], PerRow<int32_t, Rows>& to) {
  if constexpr (M::kReducesSeveral) {
    M::totals(sums, to.of);
  } else {
    unroll<Rows>([&](auto m) FXQUANT_UNROLLED { to.of[m] = M::total(sums[m]); });
  }
}

// The largest lanes of each row's vector.
template <class M, int Rows>
FXQUANT_UNROLLED inline void largest_of(const typename M::F32 (&most)[Rows], PerRow<float, Rows>& to) {
  if constexpr (M::kReducesSeveral) {
    M::largests(most, to.of);
  } else {
    unroll<Rows>([&](auto m) FXQUANT_UNROLLED { to.of[m] = M::largest(most[m]); });
  }
}

// The sums of `count` bytes of each row; all rows at once, so that a CPU does not wait for one of them.
template <class M, int Rows>
FXQUANT_UNROLLED inline void sums_of_rows(const uint8_t* rows, int64_t stride, int64_t count,
                                          PerRow<int32_t, Rows>& to) {
  typename M::Acc sums[Rows];
  unroll<Rows>([&](auto m) FXQUANT_UNROLLED { sums[m] = M::splat_i32(0); });
  int64_t i = 0;
  for (; i + 4 * M::kCount <= count; i += 4 * M::kCount) {
    unroll<Rows>([&](auto m)
                     FXQUANT_UNROLLED { sums[m] = M::dot(sums[m], M::activations(rows + m * stride + i), M::ones()); });
  }
  if (i < count) {
    unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
      sums[m] = M::dot(sums[m], M::activations(rows + m * stride + i, count - i), M::ones());
    });
  }
  totals_of<M>(sums, to);
}

// The third term above, of each row; `terms` are zeros before.
template <class M, int Rows>
FXQUANT_UNROLLED inline void terms_of_rows(const uint8_t* a, int64_t stride, int64_t depth, int32_t a_zero_point,
                                           int32_t b_zero_point, PerRow<int32_t, Rows>& terms) {
  if (b_zero_point == 128) return;
  sums_of_rows<M>(a, stride, depth, terms);
  for (int32_t& term : terms.of) term = (128 - b_zero_point) * (term - static_cast<int32_t>(depth) * a_zero_point);
}

// What the accumulators of a tile begin with: the terms of columns.
template <class M, int Rows, int Vectors>
FXQUANT_UNROLLED inline void begin_tile(typename M::Acc (&acc)[Rows][Vectors], const uint8_t* panel) {
  unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
    unroll<Vectors>([&](auto v) FXQUANT_UNROLLED {
      acc[m][v] = M::load_i32(reinterpret_cast<const int32_t*>(panel) + M::kCount * v);
    });
  });
}

// acc += row_terms[m] in row m. Before the products or behind them: terms that take long to compute can wait.
template <class M, int Rows, int Vectors>
FXQUANT_UNROLLED inline void add_terms(typename M::Acc (&acc)[Rows][Vectors], const int32_t* row_terms) {
  row_terms = unread(row_terms);
  unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
    const auto term = M::splat_i32(row_terms[m]);
    unroll<Vectors>([&](auto v) FXQUANT_UNROLLED { acc[m][v] = M::add_i32(acc[m][v], term); });
  });
}

// Where a tile is on its way along k: rows of the left operand, `stride` apart, and a panel. Of the panel it takes the
// first Vectors vectors. Three rows share a pointer: a pointer each would be too many registers.
template <class M, int Rows, int Vectors = M::kVectors>
class TileSteps {
 public:
  FXQUANT_UNROLLED TileSteps(const uint8_t* a, int64_t stride, const uint8_t* panel)
      : stride_(stride), weights_(panel + 4 * kColumns<M>) {
    unroll<kPointers>([&](auto i) FXQUANT_UNROLLED { a_[i] = unread(a + 3 * i * stride); });
  }

  // acc += the product of the next four k.
  FXQUANT_UNROLLED void next(typename M::Acc (&acc)[Rows][Vectors]) {
    add(acc, [](const uint8_t* row) FXQUANT_UNROLLED { return load_as<uint32_t>(row); });
  }
  // The same of the last `count` k, fewer than four.
  FXQUANT_UNROLLED void last(typename M::Acc (&acc)[Rows][Vectors], int64_t count) {
    add(acc, [&](const uint8_t* row) FXQUANT_UNROLLED { return static_cast<uint32_t>(load_bytes(row, count)); });
  }

 private:
  template <class Load>
  FXQUANT_UNROLLED void add(typename M::Acc (&acc)[Rows][Vectors], const Load& load) {
    typename M::Weights b[Vectors];
    unroll<Vectors>([&](auto v) FXQUANT_UNROLLED { b[v] = M::weights(weights_ + 4 * M::kCount * v); });
    unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
      const auto x = M::broadcast(load(a_[m / 3] + m % 3 * stride_));
      unroll<Vectors>([&](auto v) FXQUANT_UNROLLED { acc[m][v] = M::dot(acc[m][v], x, b[v]); });
    });
    unroll<kPointers>([&](auto i) FXQUANT_UNROLLED { a_[i] += 4; });
    weights_ += 4 * kColumns<M>;
  }

  static constexpr int kPointers = (Rows + 2) / 3;
  const uint8_t* a_[kPointers];
  const int64_t stride_;
  const uint8_t* weights_;
};

// acc = the product of Rows rows of `a`, `stride` apart, with the first Vectors vectors of a panel.
template <class M, int Rows, int Vectors>
FXQUANT_UNROLLED inline void multiply(typename M::Acc (&acc)[Rows][Vectors], const uint8_t* a, int64_t stride,
                                      int64_t depth, const uint8_t* panel) {
  begin_tile<M>(acc, panel);
  TileSteps<M, Rows, Vectors> steps(a, stride, panel);
  for (int64_t left = depth / 4; left > 0; --left) steps.next(acc);
  if (depth % 4 != 0) steps.last(acc, depth % 4);
}

// Requantized rows of a tile to y; `columns` of the panel exist.
template <class M, int Rows>
FXQUANT_UNROLLED inline void store_tile(const typename M::Acc (&acc)[Rows][M::kVectors], const float* multipliers,
                                        const typename M::Output& output, uint8_t* y, int64_t stride, int64_t columns) {
  constexpr int kTogether = 4 / M::kVectors;  // rows of four vectors
  constexpr int kWhole = Rows / kTogether * kTogether;
  multipliers = unread(multipliers);
  const auto value = [&](int m, int v)
                         FXQUANT_UNROLLED { return M::mul(M::to_float(acc[m][v]), M::set(multipliers[m])); };
  const auto store_row = [&](auto m) FXQUANT_UNROLLED {
    unroll<M::kVectors>([&](auto v) FXQUANT_UNROLLED {
      const int64_t left = columns - M::kCount * v, count = left < M::kCount ? left : M::kCount;
      if (count > 0) M::store_u8(y + m * stride + M::kCount * v, count, value(m, v), output);
    });
  };
  if (columns < kColumns<M>) return unroll<Rows>(store_row);
  unroll<Rows / kTogether>([&](auto i) FXQUANT_UNROLLED {
    constexpr int kFirst = kTogether * (decltype(i)() + 0);
    typename M::F32 values[4];
    unroll<4>([&](auto j) FXQUANT_UNROLLED { values[j] = value(kFirst + j / M::kVectors, j % M::kVectors); });
    if constexpr (kTogether == 1) {
      M::store4_u8(y + kFirst * stride, values, output);
    } else {
      M::store_pairs_u8(y + kFirst * stride, y + (kFirst + 1) * stride, values, output);
    }
  });
  unroll<Rows - kWhole>([&](auto m) FXQUANT_UNROLLED { store_row(Index<kWhole + (decltype(m)() + 0)>{}); });
}

}  // namespace
}  // namespace fxquant
