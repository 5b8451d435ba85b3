// From float32 rows to symmetric codes: 128 + clamp(rne(x / scale), -127, 127). Included by ISA files only.
#pragma once
#include "dynamic/generic.h"
#include "matmul/matmul.h"

namespace fxquant {
namespace {

constexpr int32_t kMiddle = 128;
constexpr Levels kSymmetric = {1, 255};

// `least`: the -|x| of the largest |x|.
inline float scale_of(float least) {
  const float scale = -least / 127.0F;
  if (!is_finite(scale)) return __builtin_nanf("");
  return scale < kSmallestScale ? kSmallestScale : scale;
}

// Rows of float32 whose elements lie side by side, or are gathered into `gathered`, one at a time.
struct SourceRows {
  const float* data;
  int64_t count, length;
  Matrix strides;
  float* gathered;

  // body(row): row(j) is where row j is, until the next one is asked for.
  template <class Body>
  FXQUANT_UNROLLED auto with_rows(const Body& body) const {
    const SourceRows x = *this;  // a copy: for all the compiler knows, stores could change the original
    if (x.strides.column == 1) return body([=](int64_t j) FXQUANT_UNROLLED { return x.data + j * x.strides.row; });
    return body([=](int64_t j) FXQUANT_UNROLLED -> const float* {
      const float* from = x.data + j * x.strides.row;
      for (int64_t i = 0; i < x.length; ++i) x.gathered[i] = from[i * x.strides.column];
      return x.gathered;
    });
  }
};

template <class L>
FXQUANT_UNROLLED inline typename L::F32 load_part(const float* p, int64_t left) {
  return left < L::kCount ? L::load_f32(p, left) : L::load_f32(p);
}

// The largest |x| of elements [begin, end) of all rows, as -|x| and for each lane, where `end` may lie in a last vector
// behind them. Every kChains-th row is in one chain.
template <class L>
typename L::F32 least_of(const SourceRows& x, int64_t begin, int64_t end) {
  return x.with_rows([=, length = x.length, count = x.count](const auto& row) FXQUANT_UNROLLED {
    typename L::F32 chain[kChains];
    unroll<kChains>([&](auto c) FXQUANT_UNROLLED { chain[c] = L::set(-0.0F); });
    const auto with_row = [&](int64_t j, typename L::F32 least) FXQUANT_UNROLLED {
      const float* from = row(j);
      for (int64_t i = begin; i < end; i += L::kCount) {
        least = L::lower(L::negative(load_part<L>(from + i, length - i)), least);
      }
      return least;
    };
    int64_t j = 0;
    for (; j + kChains <= count; j += kChains) {
      unroll<kChains>([&](auto c) FXQUANT_UNROLLED { chain[c] = with_row(j + c, chain[c]); });
    }
    for (; j < count; ++j) chain[0] = with_row(j, chain[0]);
    unroll<kChains - 1>([&](auto c) FXQUANT_UNROLLED { chain[0] = L::lower(chain[c + 1], chain[0]); });
    return chain[0];
  });
}

template <class L>
float scale_of_all(const SourceRows& x) {
  return scale_of(L::lowermost(least_of<L>(x, 0, x.length)));
}

// The scale of each column, [length] and room for whole vectors.
template <class L>
void scales_of_columns(const SourceRows& x, float* scales) {
  for (int64_t i = 0; i < x.length; i += L::kCount) {
    float least[L::kCount];
    L::store_f32(least, least_of<L>(x, i, i + L::kCount));
    for (int lane = 0; lane < L::kCount; ++lane) scales[i + lane] = scale_of(least[lane]);
  }
}

// Codes, rows of them `stride` apart.
template <class L>
struct CodesOf {
  uint8_t* to;
  int64_t stride;
  typename L::Output output = L::output({kMiddle, kSymmetric.quant_min, kSymmetric.quant_max});

  // Of two vectors from element i on of all rows; two rows at a time, or the last one twice.
  void pairs(const SourceRows& x, int64_t i, typename L::F32 inverse, typename L::F32 second_inverse) const {
    x.with_rows([=, count = x.count, codes = *this](const auto& row) FXQUANT_UNROLLED {
      for (int64_t j = 0; j < count; j += 2) {
        const int64_t next = j + 1 < count ? j + 1 : j;
        typename L::F32 values[4];
        const auto take = [&](auto k, int64_t of) FXQUANT_UNROLLED {
          const float* from = row(of) + i;
          values[k] = L::mul(L::load_f32(from), inverse);
          values[k + 1] = L::mul(L::load_f32(from + L::kCount), second_inverse);
        };
        take(Index<0>{}, j);
        take(Index<2>{}, next);
        L::store_pairs_u8(codes.to + j * codes.stride + i, codes.to + next * codes.stride + i, values, codes.output);
      }
    });
  }
  // Of whole rows.
  void rows(const SourceRows& x, typename L::F32 inverse) const {
    x.with_rows([=, length = x.length, count = x.count](const auto& row) FXQUANT_UNROLLED {
      for (int64_t j = 0; j < count; ++j) quantize_row<L>(to + j * stride, row(j), length, inverse, output);
    });
  }
  // Of at most one vector from element i on.
  void singles(const SourceRows& x, int64_t i, typename L::F32 inverse) const {
    x.with_rows([=, left = x.length - i, count = x.count](const auto& row) FXQUANT_UNROLLED {
      for (int64_t j = 0; j < count; ++j) {
        const auto value = L::mul(load_part<L>(row(j) + i, left), inverse);
        L::store_u8(to + j * stride + i, left < L::kCount ? left : L::kCount, value, output);
      }
    });
  }
};

// Codes of all rows.
template <class L>
void codes_of_all(const SourceRows& x, float scale, uint8_t* codes, int64_t stride) {
  const CodesOf<L> to{codes, stride};
  const auto inverse = L::set(1.0F / scale);
  if constexpr (L::kVectors == 2) {
    if (x.length == 2 * L::kCount) return to.pairs(x, 0, inverse, inverse);
  }
  to.rows(x, inverse);
}

// Codes by the scales of columns.
template <class L>
void codes_of_columns(const SourceRows& x, const float* scales, uint8_t* codes, int64_t stride) {
  const CodesOf<L> to{codes, stride};
  const auto inverse = [=](int64_t i) FXQUANT_UNROLLED { return L::div(L::set(1.0F), L::load_f32(scales + i)); };
  int64_t i = 0;
  if constexpr (L::kVectors == 2) {
    for (; i + 2 * L::kCount <= x.length; i += 2 * L::kCount) to.pairs(x, i, inverse(i), inverse(i + L::kCount));
  }
  for (; i < x.length; i += L::kCount) to.singles(x, i, inverse(i));
}

}  // namespace
}  // namespace fxquant
