#include "copy/copy.h"

#include <cstring>

namespace fxquant {
namespace {

void copy_row(uint8_t* y, int64_t y_step, const uint8_t* x, int64_t x_step, int64_t length) {
  if (y_step == 1 && x_step == 1) {
    std::memcpy(y, x, static_cast<size_t>(length));
    return;
  }
  for (int64_t i = 0; i < length; ++i) y[i * y_step] = x[i * x_step];
}

}  // namespace

void copy(const Walk<2>& walk, uint8_t* y, const uint8_t* x, int threads) {
  for_each_plane(walk, threads, [&](const Plane<2>& plane) {
    for (int64_t r = 0; r < plane.rows; ++r) {
      copy_row(y + plane.offset[0] + r * plane.row[0], plane.step[0], x + plane.offset[1] + r * plane.row[1],
               plane.step[1], plane.length);
    }
  });
}

void fill(const Walk<1>& walk, uint8_t* y, uint8_t value, int threads) {
  for_each_plane(walk, threads, [&](const Plane<1>& plane) {
    for (int64_t r = 0; r < plane.rows; ++r) {
      uint8_t* row = y + plane.offset[0] + r * plane.row[0];
      if (plane.step[0] == 1) {
        std::memset(row, value, static_cast<size_t>(plane.length));
      } else {
        for (int64_t i = 0; i < plane.length; ++i) row[i * plane.step[0]] = value;
      }
    }
  });
}

void fill_halo(const Nhwc<uint8_t>& y, int64_t rows, int64_t columns, uint8_t value, int threads) {
  const size_t band = static_cast<size_t>(rows * y.stride_h), side = static_cast<size_t>(columns * y.stride_w);
  const int64_t bytes = 2 * y.n * static_cast<int64_t>(band + static_cast<size_t>(y.h) * side);
  parallel_for(y.n, worthwhile_threads(bytes, threads), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      std::memset(y.at(n, -rows, -columns), value, band);
      for (int64_t h = 0; h < y.h; ++h) {
        std::memset(y.at(n, h, -columns), value, side);
        std::memset(y.at(n, h, y.w), value, side);
      }
      std::memset(y.at(n, y.h, -columns), value, band);
    }
  });
}

}  // namespace fxquant
