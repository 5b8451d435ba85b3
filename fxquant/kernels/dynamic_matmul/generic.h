// Dynamic products over the tiles of a Machine (matmul/tile.h). Of a batch b becomes codes and is packed; then each
// tile of rows of a becomes codes and is multiplied. Included by ISA files only.
#pragma once
#include "dynamic_attention/codes.h"
#include "dynamic_matmul/dynamic_matmul.h"
#include "matmul/blocks.h"
#include "matmul/tile.h"

namespace fxquant {
namespace {

// Where a thread keeps what it computes on the way, in bytes.
template <class M>
struct DynamicMatmulScratch {
  int64_t row, column, packed, codes, rows, scales, gathered, size;

  explicit DynamicMatmulScratch(const DynamicMatmul& p)
      : row(rounded_up(p.depth, 64)), column(rounded_up(p.columns, 64)), packed(0) {
    codes = packed + packed_bytes<M>(p.depth, p.columns);
    rows = codes + rounded_up(p.b.row == 1 ? p.columns * row : p.depth * column, 64);
    scales = rows + M::kRows * row;
    gathered = scales + column * 4;
    size = gathered + (row > column ? row : column) * 4;
  }
};

template <class M>
int64_t dynamic_matmul_scratch_of(const DynamicMatmul& p) {
  return DynamicMatmulScratch<M>(p).size;
}

template <class M>
class DynamicMatmulBlock {
 public:
  DynamicMatmulBlock(const DynamicMatmul& params, const DynamicMatmulOperands& operands, uint8_t* memory)
      : p_(params), operands_(operands), at_(params), memory_(memory) {}

  void operator()(int64_t batch, bool is_new, int64_t begin, int64_t end) {
    const int64_t b = p_.batches.offset(batch, 2);
    if (is_new && b != prepared_) prepare(b);
    const float* a = operands_.a + p_.batches.offset(batch, 1);
    float* y = operands_.y + p_.batches.offset(batch, 0);
    for_each_tile<M::kRows>(begin, end, [&](int64_t first, auto rows) {
      tile<decltype(rows)() + 0>(y + first * p_.y_row, a + first * p_.a_row);
    });
  }

 private:
  float* floats(int64_t offset) { return reinterpret_cast<float*>(memory_ + offset); }

  // The codes of b, packed; their scales times that of the product.
  void prepare(int64_t offset) {
    uint8_t* codes = memory_ + at_.codes;
    float *scales = floats(at_.scales), *gathered = floats(at_.gathered);
    const float* b = operands_.b + offset;
    if (p_.b.row == 1) {
      for (int64_t n = 0; n < p_.columns; ++n) {
        const SourceRows column{b + n * p_.b.column, 1, p_.depth, {p_.depth, 1}, gathered};
        scales[n] = scale_of_all<M>(column);
        codes_of_all<M>(column, scales[n], codes + n * at_.row, at_.row);
      }
    } else {
      const SourceRows rows{b, p_.depth, p_.columns, p_.b, gathered};
      scales_of_columns<M>(rows, scales);
      codes_of_columns<M>(rows, scales, codes, at_.column);
    }
    const Matrix strides = p_.b.row == 1 ? Matrix{1, at_.row} : Matrix{at_.column, 1};
    // With a zero point of -1 panels begin with the plain sums of their columns.
    pack<M>({codes, p_.depth, p_.columns, strides}, -1, memory_ + at_.packed);
    for (int64_t n = 0; n < p_.columns; ++n) scales[n] *= p_.scale;
    prepared_ = offset;
  }

  // So many rows of a and y.
  template <int Rows>
  void tile(float* y, const float* a) {
    uint8_t* codes = memory_ + at_.rows;
    float scales[Rows];
    int32_t shares[Rows];  // of the sums of columns, which are in the accumulators once
    for (int m = 0; m < Rows; ++m) {
      const float* row = a + m * p_.a_row;
      const Levels levels;
      const RowTerms terms = row_terms(dynamic_range<M>(row, p_.depth), levels);
      dynamic_quantize<M>(codes + m * at_.row, row, p_.depth, terms, levels);
      scales[m] = terms.scale;
      shares[m] = -1 - terms.zero_point;
    }
    const uint8_t* panel = memory_ + at_.packed;
    for (int64_t c = 0; c < p_.columns; c += kColumns<M>, panel += panel_bytes<M>(p_.depth)) {
      typename M::Acc acc[Rows][M::kVectors];
      multiply<M>(acc, codes, at_.row, p_.depth, panel);
      store<Rows>(acc, y + c, panel, scales, shares, c);
    }
  }

  template <int Rows>
  FXQUANT_UNROLLED void store(const typename M::Acc (&acc)[Rows][M::kVectors], float* y, const uint8_t* panel,
                              const float* scales, const int32_t* shares, int64_t column) {
    const auto* sums = reinterpret_cast<const int32_t*>(panel);
    scales = unread(scales);
    shares = unread(shares);
    unroll<Rows>([&](auto m) FXQUANT_UNROLLED {
      const auto scale = M::set(scales[m]);
      const auto share = M::splat_i32(shares[m]);
      unroll<M::kVectors>([&](auto v) FXQUANT_UNROLLED {
        const int64_t at = M::kCount * v, left = p_.columns - column - at;
        if (left <= 0) return;
        const auto centered = M::add_i32(acc[m][v], M::mul_i32(share, M::load_i32(sums + at)));
        const auto factor = M::load_f32(floats(at_.scales) + column + at);
        const auto value = M::mul(M::mul(M::to_float(centered), scale), factor);
        M::store_f32(y + m * p_.y_row + at, left < M::kCount ? left : M::kCount, value);
      });
    });
  }

  const DynamicMatmul& p_;
  const DynamicMatmulOperands& operands_;
  const DynamicMatmulScratch<M> at_;
  uint8_t* memory_;
  int64_t prepared_ = -1;
};

template <class M>
void dynamic_matmul_part(const DynamicMatmul& p, const DynamicMatmulOperands& operands, const MatmulPart& part) {
  DynamicMatmulBlock<M> block(p, operands, part.scratch);
  for_each_block(part, p.rows, block);
}

template <class M>
constexpr DynamicMatmulKernels dynamic_matmul_table() {
  return {dynamic_matmul_scratch_of<M>, dynamic_matmul_part<M>};
}

}  // namespace
}  // namespace fxquant
