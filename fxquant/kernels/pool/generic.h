// Pooling over vectors of channels. Include after the header of base/ that defines the machine's byte vectors.
//
// An Op says how a window is reduced:
//   Acc                             what positions are gathered in: clear(), add(bytes), add(Acc)
//   finish(acc, columns) -> bytes   the output whose window has these columns
#pragma once
#include "base/unroll.h"
#include "pool/pool.h"

namespace fxquant {
namespace {

template <class V>
class Largest {
 public:
  FXQUANT_UNROLLED void clear() { bytes_ = V::zero(); }
  FXQUANT_UNROLLED void add(typename V::Int bytes) { bytes_ = V::max_u8(bytes_, bytes); }
  FXQUANT_UNROLLED void add(const Largest& other) { add(other.bytes_); }
  FXQUANT_UNROLLED typename V::Int bytes() const { return bytes_; }

 private:
  typename V::Int bytes_;
};

// Sums of at most kShortWindow bytes.
constexpr int64_t kShortWindow = 0xffff / 0xff;
template <class V>
class ShortSum {
 public:
  FXQUANT_UNROLLED void clear() { low_ = high_ = V::zero(); }
  FXQUANT_UNROLLED void add(typename V::Int bytes) {
    low_ = V::add_16(low_, V::low_8(bytes, V::zero()));
    high_ = V::add_16(high_, V::high_8(bytes, V::zero()));
  }
  FXQUANT_UNROLLED void add(const ShortSum& other) {
    low_ = V::add_16(low_, other.low_);
    high_ = V::add_16(high_, other.high_);
  }
  // float(sum - offset) of vector `Part`.
  template <int Part>
  FXQUANT_UNROLLED typename V::Float part(int32_t offset) const {
    return centered_words<V, Part % 2>(Part < 2 ? low_ : high_, V::splat(above_base(offset)));
  }

 private:
  typename V::Int low_, high_;
};

// Sums of any number of bytes: in 16 bits for as many as fit, then in 32.
template <class V>
class LongSum {
  using Int = typename V::Int;

 public:
  FXQUANT_UNROLLED void clear() {
    low_ = high_ = sum_[0] = sum_[1] = sum_[2] = sum_[3] = V::zero();
    held_ = 0;
  }
  FXQUANT_UNROLLED void add(Int bytes) {
    low_ = V::add_16(low_, V::low_8(bytes, V::zero()));
    high_ = V::add_16(high_, V::high_8(bytes, V::zero()));
    if (++held_ == kShortWindow) flush();
  }
  template <int Part>
  FXQUANT_UNROLLED typename V::Float part(int32_t offset) {
    if (held_ > 0) flush();
    return V::to_float(V::sub_32(sum_[Part], V::splat_32(offset)));
  }

 private:
  FXQUANT_UNROLLED void flush() {
    sum_[0] = V::add_32(sum_[0], V::low_16(low_, V::zero()));
    sum_[1] = V::add_32(sum_[1], V::high_16(low_, V::zero()));
    sum_[2] = V::add_32(sum_[2], V::low_16(high_, V::zero()));
    sum_[3] = V::add_32(sum_[3], V::high_16(high_, V::zero()));
    low_ = high_ = V::zero();
    held_ = 0;
  }
  Int low_, high_, sum_[4];
  int held_;
};

template <class V>
struct MaxOp {
  using Acc = Largest<V>;
  explicit MaxOp(const PoolTask&) {}
  FXQUANT_UNROLLED typename V::Int finish(const Acc& acc, const Window&) const { return acc.bytes(); }
};

template <class V, class Sum>
class AverageOp {
 public:
  using Acc = Sum;
  explicit AverageOp(const PoolTask& task)
      : rows_(task.rows),
        multiplier_(task.average->multiplier),
        x_zero_point_(task.average->x_zero_point),
        saturate_(task.average->output) {}
  FXQUANT_UNROLLED typename V::Int finish(Acc& acc, const Window& columns) const {
    const int64_t positions = (rows_.end - rows_.begin) * (columns.end - columns.begin);
    const int32_t offset = static_cast<int32_t>(positions * x_zero_point_);
    const auto multiplier = V::splat(multiplier_ / static_cast<float>(rows_.extent * columns.extent));
    typename V::Int rounded[4];
    unroll<4>([&](auto v)
                  FXQUANT_UNROLLED { rounded[v] = saturate_.round(V::mul(acc.template part<v>(offset), multiplier)); });
    return saturate_.bytes(saturate_.words(rounded[0], rounded[1]), saturate_.words(rounded[2], rounded[3]));
  }

 private:
  const Window rows_;
  const float multiplier_;
  const int32_t x_zero_point_;
  const Saturate<V> saturate_;
};
template <class V>
using ShortAverage = AverageOp<V, ShortSum<V>>;
template <class V>
using LongAverage = AverageOp<V, LongSum<V>>;

// The channels of a vector: all, or the first `count`.
template <class V, bool kWhole>
struct Lanes {
  int count;
  FXQUANT_UNROLLED typename V::Int load(const uint8_t* p) const {
    if constexpr (kWhole) return V::load(p);
    return V::load(p, count);
  }
  FXQUANT_UNROLLED void store(uint8_t* p, typename V::Int bytes) const {
    if constexpr (kWhole) return V::store(p, bytes);
    V::store(p, bytes, count);
  }
};

// Every window by itself, `kVectors` vectors of channels from `c` on together.
template <class V, int kVectors, bool kWhole, class Op>
FXQUANT_UNROLLED inline void windows_alone(const PoolTask& task, const Op& op, int64_t c, Lanes<V, kWhole> lanes) {
  const int64_t step_h = task.x.stride_h * task.dilation_h, step_w = task.x.stride_w * task.dilation_w;
  uint8_t* y = task.y + c;
  for (int64_t ox = 0; ox < task.width; ++ox, y += task.stride_y) {
    const Window columns = task.columns[ox];
    typename Op::Acc acc[kVectors];
    unroll<kVectors>([&](auto k) FXQUANT_UNROLLED { acc[k].clear(); });
    const uint8_t* row = task.x.at(0, task.rows.begin, columns.begin) + c;
    for (int64_t iy = task.rows.begin; iy < task.rows.end; iy += task.dilation_h, row += step_h) {
      const uint8_t* x = row;
      for (int64_t ix = columns.begin; ix < columns.end; ix += task.dilation_w, x += step_w) {
        unroll<kVectors>([&](auto k) FXQUANT_UNROLLED { acc[k].add(lanes.load(x + k * V::kWidth)); });
      }
    }
    unroll<kVectors>([&](auto k) FXQUANT_UNROLLED { lanes.store(y + k * V::kWidth, op.finish(acc[k], columns)); });
  }
}

// Columns that are reduced at a time, and the most that a window may have for that.
constexpr int64_t kSharedColumns = 64, kWidestShared = 32;

// Windows that overlap and have no dilation: each column of the input is reduced once, over the window's rows.
template <class V, bool kWhole, class Op>
class SharedColumns {
  using Acc = typename Op::Acc;

 public:
  SharedColumns(const PoolTask& task, const Op& op, int64_t c, Lanes<V, kWhole> lanes)
      : task_(task), op_(op), c_(c), lanes_(lanes) {}
  FXQUANT_UNROLLED void run() {
    for (int64_t ox = 0; ox < task_.width;) {
      const int64_t first = task_.columns[ox].begin;
      int64_t end = ox + 1;
      while (end < task_.width && task_.columns[end].end - first <= kSharedColumns) ++end;
      reduce_columns(first, task_.columns[end - 1].end);
      uint8_t* y = task_.y + ox * task_.stride_y + c_;
      for (; ox < end; ++ox, y += task_.stride_y) {
        const Window columns = task_.columns[ox];
        Acc acc = column_[columns.begin - first];
        for (int64_t i = columns.begin + 1 - first; i < columns.end - first; ++i) acc.add(column_[i]);
        lanes_.store(y, op_.finish(acc, columns));
      }
    }
  }

 private:
  FXQUANT_UNROLLED void reduce_columns(int64_t first, int64_t end) {
    constexpr int kTogether = 4;
    const uint8_t* top = task_.x.at(0, task_.rows.begin, first) + c_;
    int64_t i = 0;
    for (; i + kTogether <= end - first; i += kTogether) reduce<kTogether>(top + i * task_.x.stride_w, i);
    for (; i < end - first; ++i) reduce<1>(top + i * task_.x.stride_w, i);
  }
  template <int kTogether>
  FXQUANT_UNROLLED void reduce(const uint8_t* x, int64_t i) {
    Acc acc[kTogether];
    unroll<kTogether>([&](auto k) FXQUANT_UNROLLED { acc[k].clear(); });
    for (int64_t iy = task_.rows.begin; iy < task_.rows.end; ++iy, x += task_.x.stride_h) {
      unroll<kTogether>([&](auto k) FXQUANT_UNROLLED { acc[k].add(lanes_.load(x + k * task_.x.stride_w)); });
    }
    unroll<kTogether>([&](auto k) FXQUANT_UNROLLED { column_[i + k] = acc[k]; });
  }
  const PoolTask& task_;
  const Op& op_;
  const int64_t c_;
  const Lanes<V, kWhole> lanes_;
  Acc column_[kSharedColumns];
};

// Whether neighbouring windows share columns, none is empty, and all are as narrow as that takes.
inline bool shares_columns(const PoolTask& task) {
  bool overlap = false;
  for (int64_t ox = 0; ox < task.width; ++ox) {
    const Window& columns = task.columns[ox];
    if (columns.begin >= columns.end || columns.end - columns.begin > kWidestShared) return false;
    overlap = overlap || (ox > 0 && task.columns[ox - 1].end > columns.begin);
  }
  return overlap && task.dilation_h == 1 && task.dilation_w == 1;
}

inline bool has_short_windows(const PoolTask& task) {
  int64_t widest = 0;
  for (int64_t ox = 0; ox < task.width; ++ox) {
    const int64_t columns = task.columns[ox].end - task.columns[ox].begin;
    widest = columns > widest ? columns : widest;
  }
  return (task.rows.end - task.rows.begin) * widest <= kShortWindow;
}

// Pools some vectors of channels from `c` on; returns how many channels.
template <class V, bool kShares, class Op>
FXQUANT_UNROLLED inline int64_t pool_vectors(const PoolTask& task, const Op& op, int64_t c) {
  const int64_t left = task.channels - c;
  const Lanes<V, true> whole{V::kWidth};
  const Lanes<V, false> rest{static_cast<int>(left)};
  if constexpr (kShares) {
    if (left < V::kWidth) return SharedColumns(task, op, c, rest).run(), left;
    return SharedColumns(task, op, c, whole).run(), V::kWidth;
  } else {
    if (left >= 4 * V::kWidth) return windows_alone<V, 4>(task, op, c, whole), 4 * V::kWidth;
    if (left >= 2 * V::kWidth) return windows_alone<V, 2>(task, op, c, whole), 2 * V::kWidth;
    if (left >= V::kWidth) return windows_alone<V, 1>(task, op, c, whole), V::kWidth;
    return windows_alone<V, 1>(task, op, c, rest), left;
  }
}

template <template <class> class Op, bool kShares>
void pool_windows_of(const PoolTask& task) {
  for (int64_t c = 0; c < task.channels;) {
    with_bytes(task.channels - c, [&](auto bytes) FXQUANT_UNROLLED {
      using V = decltype(bytes);
      c += pool_vectors<V, kShares>(task, Op<V>(task), c);
    });
  }
}

inline void max_pool(const PoolTask& task) {
  if (shares_columns(task)) return pool_windows_of<MaxOp, true>(task);
  pool_windows_of<MaxOp, false>(task);
}

inline void average_pool(const PoolTask& task) {
  if (!has_short_windows(task)) return pool_windows_of<LongAverage, false>(task);
  if (shares_columns(task)) return pool_windows_of<ShortAverage, true>(task);
  pool_windows_of<ShortAverage, false>(task);
}

}  // namespace
}  // namespace fxquant
