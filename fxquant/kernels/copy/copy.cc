#include "copy/copy.h"

#include <atomic>
#include <cstring>

namespace fxquant {
namespace {

// y[i] = x[i * x_step], of steps that the compiler knows and makes vectors of.
template <int64_t kStep>
void copy_every(uint8_t* y, const uint8_t* x, int64_t length) {
  for (int64_t i = 0; i < length; ++i) y[i] = x[i * kStep];
}

void copy_row(uint8_t* y, int64_t y_step, const uint8_t* x, int64_t x_step, int64_t length) {
  if (y_step == 1 && x_step == 1) {
    std::memcpy(y, x, static_cast<size_t>(length));
  } else if (y_step == 1 && x_step == 2) {
    copy_every<2>(y, x, length);
  } else {
    for (int64_t i = 0; i < length; ++i) y[i * y_step] = x[i * x_step];
  }
}

// A row of y takes one byte of each of kStreams rows of x, as a channel shuffle does: y[r * kStreams + i] = x[i][r].
template <int kStreams>
void interleave(uint8_t* __restrict y, const uint8_t* __restrict x, int64_t distance, int64_t rows) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int i = 0; i < kStreams; ++i) y[r * kStreams + i] = x[i * distance + r];
  }
}

void copy_plane(const Plane<2>& plane, uint8_t* y, const uint8_t* x) {
  const bool interleaves = plane.step[0] == 1 && plane.row[0] == plane.length && plane.row[1] == 1;
  if (interleaves && plane.length == 2) return interleave<2>(y, x, plane.step[1], plane.rows);
  if (interleaves && plane.length == 3) return interleave<3>(y, x, plane.step[1], plane.rows);
  if (interleaves && plane.length == 4) return interleave<4>(y, x, plane.step[1], plane.rows);
  for (int64_t r = 0; r < plane.rows; ++r) {
    copy_row(y + r * plane.row[0], plane.step[0], x + r * plane.row[1], plane.step[1], plane.length);
  }
}

// Steps that the compiler knows make vectors. Both operands are read whatever the mask says.
template <int kA, int kB>
void select_row(uint8_t* __restrict y, const uint8_t* mask, const uint8_t* a, const uint8_t* b, int64_t length) {
  for (int64_t i = 0; i < length; ++i) {
    const uint8_t yes = a[i * kA], no = b[i * kB];
    y[i] = mask[i] ? yes : no;
  }
}

void select_row(const Plane<4>& plane, uint8_t* y, const uint8_t* mask, const uint8_t* a, const uint8_t* b) {
  const auto [y_step, mask_step, a_step, b_step] = plane.step;
  if (mask_step == 0)
    return *mask ? copy_row(y, y_step, a, a_step, plane.length) : copy_row(y, y_step, b, b_step, plane.length);
  const bool dense = y_step == 1 && mask_step == 1;
  if (dense && a_step == 1 && b_step == 1) return select_row<1, 1>(y, mask, a, b, plane.length);
  if (dense && a_step == 0 && b_step == 1) return select_row<0, 1>(y, mask, a, b, plane.length);
  if (dense && a_step == 1 && b_step == 0) return select_row<1, 0>(y, mask, a, b, plane.length);
  for (int64_t i = 0; i < plane.length; ++i) {
    y[i * y_step] = mask[i * mask_step] ? a[i * a_step] : b[i * b_step];
  }
}

// One row of y: of one position, where the index is the same all along it, or of one for each element.
template <class Index>
bool gather_row(const Plane<3>& plane, uint8_t* y, const Index* index, const uint8_t* x, int64_t step, int64_t size) {
  const auto [y_step, index_step, x_step] = plane.step;
  bool right = true;
  const auto place = [&](Index position) {
    const bool lies_in = position >= 0 && position < size;
    right &= lies_in;
    return lies_in ? position * step : 0;
  };
  if (index_step == 0) {
    copy_row(y, y_step, x + place(*index), x_step, plane.length);
  } else {
    for (int64_t i = 0; i < plane.length; ++i) y[i * y_step] = x[i * x_step + place(index[i * index_step])];
  }
  return right;
}

}  // namespace

void copy(const Walk<2>& walk, uint8_t* y, const uint8_t* x, int threads) {
  for_each_plane(walk, threads,
                 [&](const Plane<2>& plane) { copy_plane(plane, y + plane.offset[0], x + plane.offset[1]); });
}

void select(const Walk<4>& walk, uint8_t* y, const uint8_t* mask, const uint8_t* a, const uint8_t* b, int threads) {
  for_each_plane(walk, threads, [&](const Plane<4>& plane) {
    for (int64_t r = 0; r < plane.rows; ++r) {
      const auto at = [&](int tensor) { return plane.offset[tensor] + r * plane.row[tensor]; };
      select_row(plane, y + at(0), mask + at(1), a + at(2), b + at(3));
    }
  });
}

template <class Index>
bool gather(const Walk<3>& walk, uint8_t* y, const Index* index, const uint8_t* x, int64_t step, int64_t size,
            int threads) {
  std::atomic<bool> right{true};
  for_each_plane(walk, threads, [&](const Plane<3>& plane) {
    bool all = true;
    for (int64_t r = 0; r < plane.rows; ++r) {
      const auto at = [&](int tensor) { return plane.offset[tensor] + r * plane.row[tensor]; };
      all &= gather_row(plane, y + at(0), index + at(1), x + at(2), step, size);
    }
    if (!all) right.store(false, std::memory_order_relaxed);
  });
  return right.load(std::memory_order_relaxed);
}

template bool gather(const Walk<3>&, uint8_t*, const int32_t*, const uint8_t*, int64_t, int64_t, int);
template bool gather(const Walk<3>&, uint8_t*, const int64_t*, const uint8_t*, int64_t, int64_t, int);

template <class Number>
void mask_nonzero(const Walk<2>& walk, uint8_t* y, const Number* x, int threads) {
  for_each_plane(walk, threads, [&](const Plane<2>& plane) {
    const auto [y_step, x_step] = plane.step;
    for (int64_t r = 0; r < plane.rows; ++r) {
      uint8_t* to = y + plane.offset[0] + r * plane.row[0];
      const Number* from = x + plane.offset[1] + r * plane.row[1];
      for (int64_t i = 0; i < plane.length; ++i) to[i * y_step] = from[i * x_step] != 0;
    }
  });
}

template void mask_nonzero(const Walk<2>&, uint8_t*, const uint8_t*, int);
template void mask_nonzero(const Walk<2>&, uint8_t*, const uint16_t*, int);
template void mask_nonzero(const Walk<2>&, uint8_t*, const uint32_t*, int);
template void mask_nonzero(const Walk<2>&, uint8_t*, const uint64_t*, int);
template void mask_nonzero(const Walk<2>&, uint8_t*, const float*, int);
template void mask_nonzero(const Walk<2>&, uint8_t*, const double*, int);

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
