// max_pool2d, avg_pool2d and adaptive_avg_pool2d for Python, on dense channels-last tensors given by address and sizes.
#include "base/bind.h"

#include <vector>

#include "pool/pool.h"

namespace nb = nanobind;

namespace fxquant {
namespace {

struct Images {
  Nhwc<const uint8_t> x;
  Nhwc<uint8_t> y;
};

Images images(uintptr_t x, uintptr_t y, int64_t n, int64_t c, int64_t h, int64_t w, int64_t oh, int64_t ow) {
  return {{pointer<const uint8_t>(x), n, h, w, c, h * w * c, w * c, c},
          {pointer<uint8_t>(y), n, oh, ow, c, oh * ow * c, ow * c, c}};
}

int64_t largest(const std::vector<Window>& windows) {
  int64_t most = 0;
  for (const Window& w : windows) most = w.end - w.begin > most ? w.end - w.begin : most;
  return most;
}

void average(const Images& t, const std::vector<Window>& rows, const std::vector<Window>& columns,
             const AveragePool& pool, int isa, int threads) {
  if (largest(rows) * largest(columns) > kLargestWindow)
    throw nb::value_error("the window is so large that its sum could overflow int32");
  nb::gil_scoped_release release;
  avg_pool2d(t.x, t.y, rows.data(), columns.data(), pool, static_cast<Isa>(isa), threads);
}

void max_pool(uintptr_t x, uintptr_t y, int64_t n, int64_t c, int64_t h, int64_t w, int64_t oh, int64_t ow,
              int64_t kernel_h, int64_t kernel_w, int64_t stride_h, int64_t stride_w, int64_t pad_h, int64_t pad_w,
              int64_t dilation_h, int64_t dilation_w, int isa, int threads) {
  const Images t = images(x, y, n, c, h, w, oh, ow);
  std::vector<Window> rows(static_cast<size_t>(oh)), columns(static_cast<size_t>(ow));
  pool_windows({kernel_h, stride_h, pad_h, dilation_h}, h, oh, false, rows.data());
  pool_windows({kernel_w, stride_w, pad_w, dilation_w}, w, ow, false, columns.data());
  nb::gil_scoped_release release;
  max_pool2d(t.x, t.y, rows.data(), columns.data(), dilation_h, dilation_w, static_cast<Isa>(isa), threads);
}

// divisor 0: the number of positions.
void avg_pool(uintptr_t x, uintptr_t y, int64_t n, int64_t c, int64_t h, int64_t w, int64_t oh, int64_t ow,
              int64_t kernel_h, int64_t kernel_w, int64_t stride_h, int64_t stride_w, int64_t pad_h, int64_t pad_w,
              bool include_padding, int64_t divisor, float multiplier, int32_t x_zero_point, int32_t zero_point,
              int32_t quant_min, int32_t quant_max, int isa, int threads) {
  std::vector<Window> rows(static_cast<size_t>(oh)), columns(static_cast<size_t>(ow));
  pool_windows({kernel_h, stride_h, pad_h, 1}, h, oh, include_padding, rows.data());
  pool_windows({kernel_w, stride_w, pad_w, 1}, w, ow, include_padding, columns.data());
  if (divisor != 0) {
    for (Window& window : rows) window.extent = divisor;
    for (Window& window : columns) window.extent = 1;
  }
  average(images(x, y, n, c, h, w, oh, ow), rows, columns,
          {multiplier, x_zero_point, {zero_point, quant_min, quant_max}}, isa, threads);
}

void adaptive_avg_pool(uintptr_t x, uintptr_t y, int64_t n, int64_t c, int64_t h, int64_t w, int64_t oh, int64_t ow,
                       float multiplier, int32_t x_zero_point, int32_t zero_point, int32_t quant_min, int32_t quant_max,
                       int isa, int threads) {
  std::vector<Window> rows(static_cast<size_t>(oh)), columns(static_cast<size_t>(ow));
  adaptive_windows(h, oh, rows.data());
  adaptive_windows(w, ow, columns.data());
  average(images(x, y, n, c, h, w, oh, ow), rows, columns,
          {multiplier, x_zero_point, {zero_point, quant_min, quant_max}}, isa, threads);
}

}  // namespace

void bind_pool(nb::module_& m) {
  m.def("max_pool2d", max_pool);
  m.def("avg_pool2d", avg_pool);
  m.def("adaptive_avg_pool2d", adaptive_avg_pool);
}

}  // namespace fxquant
