// Pooling over vectors of channels. Include after the header of base/ that defines the machine's byte vectors.
#pragma once
#include "base/unroll.h"
#include "pool/pool.h"

namespace fxquant {
namespace {

// Calls pixel(pointer) for each position of the window of output `ox`, from channel `c` on.
template <class Pixel>
FXQUANT_UNROLLED inline void for_each_position(const PoolTask& task, int64_t ox, int64_t c, const Pixel& pixel) {
  const Window columns = task.columns[ox];
  const int64_t step_h = task.x.stride_h * task.dilation_h, step_w = task.x.stride_w * task.dilation_w;
  const uint8_t* row = task.x.at(0, task.rows.begin, columns.begin) + c;
  for (int64_t iy = task.rows.begin; iy < task.rows.end; iy += task.dilation_h, row += step_h) {
    const uint8_t* x = row;
    for (int64_t ix = columns.begin; ix < columns.end; ix += task.dilation_w, x += step_w) pixel(x);
  }
}

// Calls block(Bytes{}, ox, c, count) for each output and each vector of its channels.
template <class Block>
inline void for_each_vector(const PoolTask& task, const Block& block) {
  for (int64_t ox = 0; ox < task.width; ++ox) {
    for (int64_t c = 0; c < task.channels;) {
      with_bytes(task.channels - c, [&](auto bytes) FXQUANT_UNROLLED {
        constexpr int64_t kWidth = decltype(bytes)::kWidth;
        const int64_t left = task.channels - c;
        block(bytes, ox, c, static_cast<int>(left < kWidth ? left : kWidth));
        c += kWidth;
      });
    }
  }
}

inline void max_pool(const PoolTask& task) {
  for_each_vector(task, [&](auto bytes, int64_t ox, int64_t c, int count) FXQUANT_UNROLLED {
    using V = decltype(bytes);
    auto largest = V::zero();
    for_each_position(task, ox, c,
                      [&](const uint8_t* x) FXQUANT_UNROLLED { largest = V::max_u8(largest, V::load(x, count)); });
    V::store(task.y + ox * task.stride_y + c, largest, count);
  });
}

// Sums of bytes, in 16 bits for as many as fit, then in 32.
template <class V>
class Sums {
  using Int = typename V::Int;
  static constexpr int kFit = 0xffff / 0xff;

 public:
  FXQUANT_UNROLLED void add(Int bytes) {
    low_ = V::add_16(low_, V::low_8(bytes, V::zero()));
    high_ = V::add_16(high_, V::high_8(bytes, V::zero()));
    if (++held_ == kFit) flush();
  }
  template <int Part>
  FXQUANT_UNROLLED Int total() const {
    return sum_[Part];
  }
  FXQUANT_UNROLLED void flush() {
    sum_[0] = V::add_32(sum_[0], V::low_16(low_, V::zero()));
    sum_[1] = V::add_32(sum_[1], V::high_16(low_, V::zero()));
    sum_[2] = V::add_32(sum_[2], V::low_16(high_, V::zero()));
    sum_[3] = V::add_32(sum_[3], V::high_16(high_, V::zero()));
    low_ = high_ = V::zero();
    held_ = 0;
  }

 private:
  Int low_ = V::zero(), high_ = V::zero();
  Int sum_[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
  int held_ = 0;
};

inline void average_pool(const PoolTask& task) {
  const AveragePool& pool = *task.average;
  for_each_vector(task, [&](auto bytes, int64_t ox, int64_t c, int count) FXQUANT_UNROLLED {
    using V = decltype(bytes);
    Sums<V> sums;
    for_each_position(task, ox, c, [&](const uint8_t* x) FXQUANT_UNROLLED { sums.add(V::load(x, count)); });
    sums.flush();
    const Window columns = task.columns[ox];
    const int64_t positions = (task.rows.end - task.rows.begin) * (columns.end - columns.begin);
    const auto offset = V::splat_32(static_cast<int32_t>(positions * pool.x_zero_point));
    const auto multiplier = V::splat(pool.multiplier / static_cast<float>(task.rows.extent * columns.extent));
    const Saturate<V> saturate(pool.output);
    typename V::Int rounded[4];
    unroll<4>([&](auto v) FXQUANT_UNROLLED {
      const auto sum = V::sub_32(sums.template total<v>(), offset);
      rounded[v] = saturate.round(V::mul(V::to_float(sum), multiplier));
    });
    const auto low = saturate.words(rounded[0], rounded[1]), high = saturate.words(rounded[2], rounded[3]);
    V::store(task.y + ox * task.stride_y + c, saturate.bytes(low, high), count);
  });
}

}  // namespace
}  // namespace fxquant
