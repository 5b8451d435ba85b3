// The truth that every kernel of the family is held against.
#pragma once
#include <cmath>
#include <cstdint>

#include "norm/norm.h"

namespace fxquant {

struct Statistics {
  float mean, inverse;
};

// Of `count` codes whose sum and sum of squares are given.
inline Statistics statistics_of(int64_t count, int64_t sum, int64_t squares, double eps) {
  const auto n = static_cast<double>(count);
  const double variance = static_cast<double>(count * squares - sum * sum) / (n * n);
  return {static_cast<float>(static_cast<double>(sum) / n), static_cast<float>(1.0 / std::sqrt(variance + eps))};
}

inline Statistics statistics_around(int32_t zero_point, int64_t count, int64_t sum, int64_t squares, double eps) {
  const int64_t z = zero_point, around = squares - 2 * z * sum + count * z * z;
  const double mean_square = static_cast<double>(around) / static_cast<double>(count);
  return {static_cast<float>(zero_point), static_cast<float>(1.0 / std::sqrt(mean_square + eps))};
}

inline uint8_t normalized(uint8_t x, const Statistics& s, float weight, float bias, const Requantize& output) {
  return round_and_saturate((static_cast<float>(x) - s.mean) * s.inverse * weight + bias, output);
}

inline void reference_layer_norm(const LayerNorm& p, uint8_t* y, const uint8_t* x) {
  for (int64_t r = 0; r < p.rows.count; ++r) {
    const uint8_t* from = x + p.rows.offset(r, 1);
    uint8_t* to = y + p.rows.offset(r, 0);
    int64_t sum = 0, squares = 0;
    for (int64_t i = 0; i < p.rows.length; ++i) {
      sum += from[i];
      squares += from[i] * from[i];
    }
    const Statistics s = p.bias ? statistics_of(p.rows.length, sum, squares, p.eps)
                                : statistics_around(p.x_zero_point, p.rows.length, sum, squares, p.eps);
    for (int64_t i = 0; i < p.rows.length; ++i) {
      to[i] = normalized(from[i], s, p.weight[i], p.bias ? p.bias[i] : 0.0F, p.output);
    }
  }
}

inline void reference_group_norm(const GroupNorm& p, uint8_t* y, const uint8_t* x) {
  const int64_t width = p.rows.length / p.groups;
  for (int64_t n = 0; n < p.examples; ++n) {
    for (int64_t g = 0; g < p.groups; ++g) {
      int64_t sum = 0, squares = 0;
      const auto each = [&](const auto& body) {
        for (int64_t r = 0; r < p.rows.count; ++r) {
          for (int64_t c = g * width; c < (g + 1) * width; ++c) {
            body(x[n * p.example[1] + p.rows.offset(r, 1) + c], y + n * p.example[0] + p.rows.offset(r, 0) + c, c);
          }
        }
      };
      each([&](int32_t code, uint8_t*, int64_t) {
        sum += code;
        squares += code * code;
      });
      const Statistics s = statistics_of(p.rows.count * width, sum, squares, p.eps);
      each([&](uint8_t code, uint8_t* to, int64_t c) { *to = normalized(code, s, p.weight[c], p.bias[c], p.output); });
    }
  }
}

}  // namespace fxquant
