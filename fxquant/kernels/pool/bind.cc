// Steps of pooling. Windows follow from the sizes, once.
#include "base/bind.h"

#include <vector>

#include "pool/pool.h"

namespace nb = nanobind;

namespace fxquant {
namespace {

using Pair = std::vector<int64_t>;  // along height and width

int64_t largest(const std::vector<Window>& windows) {
  int64_t most = 0;
  for (const Window& w : windows) most = w.end - w.begin > most ? w.end - w.begin : most;
  return most;
}

std::vector<Window> windows_of(const PoolAxis& axis, int64_t size, int64_t outputs, bool include_padding) {
  std::vector<Window> windows(static_cast<size_t>(outputs));
  pool_windows(axis, size, outputs, include_padding, windows.data());
  return windows;
}

std::vector<Window> adaptive_windows_of(int64_t size, int64_t outputs) {
  std::vector<Window> windows(static_cast<size_t>(outputs));
  adaptive_windows(size, outputs, windows.data());
  return windows;
}

Step max_pool_step(const View& y, const View& x, const Pair& kernel, const Pair& stride, const Pair& padding,
                   const Pair& dilation, int isa) {
  const Nhwc<uint8_t> to = images_of<uint8_t>(y);
  const Nhwc<const uint8_t> from = images_of<const uint8_t>(x);
  const auto rows = windows_of({kernel.at(0), stride.at(0), padding.at(0), dilation.at(0)}, from.h, to.h, false);
  const auto columns = windows_of({kernel.at(1), stride.at(1), padding.at(1), dilation.at(1)}, from.w, to.w, false);
  return [=, dilation_h = dilation[0], dilation_w = dilation[1], to_place = y.place,
          from_place = x.place](const Frame& frame) {
    max_pool2d(from.with(frame.at<const uint8_t>(from_place)), to.with(frame.at<uint8_t>(to_place)), rows.data(),
               columns.data(), dilation_h, dilation_w, static_cast<Isa>(isa), frame.threads);
  };
}

Step average_step(const View& y, const View& x, const std::vector<Window>& rows, const std::vector<Window>& columns,
                  const AveragePool& pool, int isa) {
  if (largest(rows) * largest(columns) > kLargestWindow) {
    throw nb::value_error("the window is so large that its sum could overflow int32");
  }
  return [=, to = images_of<uint8_t>(y), from = images_of<const uint8_t>(x), to_place = y.place,
          from_place = x.place](const Frame& frame) {
    avg_pool2d(from.with(frame.at<const uint8_t>(from_place)), to.with(frame.at<uint8_t>(to_place)), rows.data(),
               columns.data(), pool, static_cast<Isa>(isa), frame.threads);
  };
}

// divisor 0: the number of positions.
Step avg_pool_step(const View& y, const View& x, const Pair& kernel, const Pair& stride, const Pair& padding,
                   bool include_padding, int64_t divisor, float multiplier, int32_t x_zero_point, int32_t zero_point,
                   int32_t quant_min, int32_t quant_max, int isa) {
  const Nhwc<uint8_t> to = images_of<uint8_t>(y);
  const Nhwc<const uint8_t> from = images_of<const uint8_t>(x);
  auto rows = windows_of({kernel.at(0), stride.at(0), padding.at(0), 1}, from.h, to.h, include_padding);
  auto columns = windows_of({kernel.at(1), stride.at(1), padding.at(1), 1}, from.w, to.w, include_padding);
  if (divisor != 0) {
    for (Window& window : rows) window.extent = divisor;
    for (Window& window : columns) window.extent = 1;
  }
  return average_step(y, x, rows, columns, {multiplier, x_zero_point, {zero_point, quant_min, quant_max}}, isa);
}

Step adaptive_avg_pool_step(const View& y, const View& x, float multiplier, int32_t x_zero_point, int32_t zero_point,
                            int32_t quant_min, int32_t quant_max, int isa) {
  const Nhwc<uint8_t> to = images_of<uint8_t>(y);
  const Nhwc<const uint8_t> from = images_of<const uint8_t>(x);
  return average_step(y, x, adaptive_windows_of(from.h, to.h), adaptive_windows_of(from.w, to.w),
                      {multiplier, x_zero_point, {zero_point, quant_min, quant_max}}, isa);
}

}  // namespace

void bind_pool(nb::module_& m, ProgramClass& program) {
  bind_step(m, program, "max_pool2d", max_pool_step);
  bind_step(m, program, "avg_pool2d", avg_pool_step);
  bind_step(m, program, "adaptive_avg_pool2d", adaptive_avg_pool_step);
}

}  // namespace fxquant
