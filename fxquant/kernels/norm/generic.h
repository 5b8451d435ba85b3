// Statistics as exact sums, then one pass over the lanes of an ISA.
#pragma once
#include <cmath>
#include <cstring>

#include "base/unroll.h"
#include "norm/norm.h"

namespace fxquant {
namespace {

struct Moments {
  int64_t sum = 0, squares = 0;
};

// As of reference.h.
struct Normalizer {
  float mean, inverse;
};

inline Normalizer around_mean(const Moments& m, int64_t count, double eps) {
  const auto n = static_cast<double>(count);
  const double variance = static_cast<double>(count * m.squares - m.sum * m.sum) / (n * n);
  return {static_cast<float>(static_cast<double>(m.sum) / n), static_cast<float>(1.0 / __builtin_sqrt(variance + eps))};
}

inline Normalizer around(int32_t zero_point, const Moments& m, int64_t count, double eps) {
  const int64_t z = zero_point, squares = m.squares - 2 * z * m.sum + count * z * z;
  const double mean = static_cast<double>(squares) / static_cast<double>(count);
  return {static_cast<float>(zero_point), static_cast<float>(1.0 / __builtin_sqrt(mean + eps))};
}

// 32 bits hold the squares of so many codes.
constexpr int64_t kBlock = 1 << 15;

// How sums of up to kBlock codes are made, byte by byte.
struct PlainSums {
  static Moments of(const uint8_t* x, int64_t count) {
    uint32_t sum = 0, squares = 0;
    for (int64_t i = 0; i < count; ++i) {
      sum += x[i];
      squares += static_cast<uint32_t>(x[i]) * x[i];
    }
    return {sum, squares};
  }
};

// By dot products: sum of x * x = sum of x * (x - 128) + 128 * sum of x.
template <class D>
struct DotSums {
  static Moments of(const uint8_t* x, int64_t count) {
    auto sums = D::splat_i32(0), products = D::splat_i32(0);
    int64_t i = 0;
    for (; i + 4 * D::kCount <= count; i += 4 * D::kCount) {
      const auto codes = D::activations(x + i);
      sums = D::dot(sums, codes, D::ones());
      products = D::dot(products, codes, D::flipped(x + i));
    }
    Moments moments;
    if (i < count) moments = PlainSums::of(x + i, count - i);
    const int64_t sum = D::total(sums);
    moments.sum += sum;
    moments.squares += D::total(products) + 128 * sum;
    return moments;
  }
};

template <class Sums>
Moments moments_of(const uint8_t* x, int64_t count) {
  Moments moments;
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const Moments block = Sums::of(x + begin, begin + kBlock < count ? kBlock : count - begin);
    moments.sum += block.sum;
    moments.squares += block.squares;
  }
  return moments;
}

// float(x) - mean and so on for `count` elements from i on; Statistics gives mean and inverse of each.
template <class L, class Statistics>
void normalize(const uint8_t* x, uint8_t* y, int64_t length, const float* weight, const float* bias,
               const typename L::Output& output, const Statistics& statistics) {
  const auto value = [&](int64_t i, int64_t count) FXQUANT_UNROLLED {
    const auto codes = count == L::kCount ? L::load_u8(x + i) : L::load_u8(x + i, count);
    const auto w = count == L::kCount ? L::load_f32(weight + i) : L::load_f32(weight + i, count);
    auto v = L::mul(L::mul(L::sub(codes, statistics.mean(i, count)), statistics.inverse(i, count)), w);
    if (bias) v = L::add(v, count == L::kCount ? L::load_f32(bias + i) : L::load_f32(bias + i, count));
    return v;
  };
  int64_t i = 0;
  for (; i + 4 * L::kCount <= length; i += 4 * L::kCount) {
    const typename L::F32 values[4] = {value(i, L::kCount), value(i + L::kCount, L::kCount),
                                       value(i + 2 * L::kCount, L::kCount), value(i + 3 * L::kCount, L::kCount)};
    L::store4_u8(y + i, values, output);
  }
  for (; i < length; i += L::kCount) {
    const int64_t left = length - i, count = left < L::kCount ? left : L::kCount;
    L::store_u8(y + i, count, value(i, count), output);
  }
}

// The same of all elements.
template <class L>
struct OfRow {
  typename L::F32 mean_of_row, inverse_of_row;
  typename L::F32 mean(int64_t, int64_t) const { return mean_of_row; }
  typename L::F32 inverse(int64_t, int64_t) const { return inverse_of_row; }
};

// A channel's own.
template <class L>
struct OfChannels {
  const float *means, *inverses;
  static typename L::F32 load(const float* p, int64_t count) {
    return count == L::kCount ? L::load_f32(p) : L::load_f32(p, count);
  }
  typename L::F32 mean(int64_t i, int64_t count) const { return load(means + i, count); }
  typename L::F32 inverse(int64_t i, int64_t count) const { return load(inverses + i, count); }
};

// Of a few rows first the statistics, all by the same vectors, then the results: a CPU works on several of them while
// it waits for one's.
template <class L, class Sums>
void layer_norm_rows(const LayerNorm& p, uint8_t* y, const uint8_t* x, int64_t begin, int64_t end) {
  constexpr int64_t kTogether = 16;
  const auto output = L::output(p.output);
  const int64_t length = p.rows.length;
  for (int64_t first = begin; first < end; first += kTogether) {
    const int64_t count = end - first < kTogether ? end - first : kTogether;
    Moments moments[kTogether];
    for (int64_t i = 0; i < count; ++i) moments[i] = moments_of<Sums>(x + p.rows.offset(first + i, 1), length);
    Normalizer of[kTogether];
    for (int64_t i = 0; i < kTogether; ++i) {
      of[i] = p.bias ? around_mean(moments[i], length, p.eps) : around(p.x_zero_point, moments[i], length, p.eps);
    }
    for (int64_t i = 0; i < count; ++i) {
      normalize<L>(x + p.rows.offset(first + i, 1), y + p.rows.offset(first + i, 0), length, p.weight, p.bias, output,
                   OfRow<L>{L::set(of[i].mean), L::set(of[i].inverse)});
    }
  }
}

// What is summed for each channel of an example, and what comes of it.
struct Channels {
  int64_t *sum, *squares;
  int32_t *block_sum, *block_squares;
  float *mean, *inverse;

  Channels(uint8_t* scratch, int64_t channels) {
    sum = reinterpret_cast<int64_t*>(scratch);
    squares = sum + channels;
    block_sum = reinterpret_cast<int32_t*>(squares + channels);
    block_squares = block_sum + channels;
    mean = reinterpret_cast<float*>(block_squares + channels);
    inverse = mean + channels;
  }
};

inline void sum_channels(const GroupNorm& p, const uint8_t* x, const Channels& of) {
  const int64_t channels = p.rows.length;
  for (int64_t c = 0; c < channels; ++c) of.sum[c] = of.squares[c] = 0;
  for (int64_t begin = 0; begin < p.rows.count; begin += kBlock) {
    const int64_t end = begin + kBlock < p.rows.count ? begin + kBlock : p.rows.count;
    for (int64_t c = 0; c < channels; ++c) of.block_sum[c] = of.block_squares[c] = 0;
    for (int64_t row = begin; row < end; ++row) {
      const uint8_t* from = x + p.rows.offset(row, 1);
      for (int64_t c = 0; c < channels; ++c) {
        of.block_sum[c] += from[c];
        of.block_squares[c] += from[c] * from[c];
      }
    }
    for (int64_t c = 0; c < channels; ++c) {
      of.sum[c] += static_cast<uint32_t>(of.block_sum[c]);
      of.squares[c] += static_cast<uint32_t>(of.block_squares[c]);
    }
  }
}

inline void normalizers_of_groups(const GroupNorm& p, const Channels& of) {
  const int64_t width = p.rows.length / p.groups;
  for (int64_t first = 0; first < p.rows.length; first += width) {
    Moments moments;
    for (int64_t c = first; c < first + width; ++c) {
      moments.sum += of.sum[c];
      moments.squares += of.squares[c];
    }
    const Normalizer n = around_mean(moments, p.rows.count * width, p.eps);
    for (int64_t c = first; c < first + width; ++c) {
      of.mean[c] = n.mean;
      of.inverse[c] = n.inverse;
    }
  }
}

template <class L>
void group_norm_examples(const GroupNorm& p, uint8_t* y, const uint8_t* x, int64_t begin, int64_t end,
                         uint8_t* scratch) {
  const auto output = L::output(p.output);
  const Channels of(scratch, p.rows.length);
  for (int64_t n = begin; n < end; ++n) {
    const uint8_t* from = x + n * p.example[1];
    uint8_t* to = y + n * p.example[0];
    sum_channels(p, from, of);
    normalizers_of_groups(p, of);
    for (int64_t row = 0; row < p.rows.count; ++row) {
      normalize<L>(from + p.rows.offset(row, 1), to + p.rows.offset(row, 0), p.rows.length, p.weight, p.bias, output,
                   OfChannels<L>{of.mean, of.inverse});
    }
  }
}

template <class L, class Sums>
constexpr NormKernels norm_table() {
  return {layer_norm_rows<L, Sums>, group_norm_examples<L>};
}

}  // namespace
}  // namespace fxquant
