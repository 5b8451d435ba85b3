#include "base/bind.h"

#include <vector>

#include "resize/source.h"

namespace nb = nanobind;

namespace fxquant {
namespace {

// Dense channels_last images.
template <class T>
Nhwc<T> dense_nhwc(uintptr_t address, int64_t n, int64_t h, int64_t w, int64_t c) {
  return {pointer<T>(address), n, h, w, c, h * w * c, w * c, c};
}

std::vector<Tap> bilinear_taps(const Axis& axis, bool align_corners) {
  std::vector<Tap> taps;
  taps.reserve(static_cast<size_t>(axis.out));
  for (int64_t i = 0; i < axis.out; ++i) taps.push_back(bilinear_tap(axis, align_corners, i));
  return taps;
}

std::vector<int64_t> nearest_indices(const Axis& axis) {
  std::vector<int64_t> indices;
  indices.reserve(static_cast<size_t>(axis.out));
  for (int64_t i = 0; i < axis.out; ++i) indices.push_back(nearest_index(axis, i));
  return indices;
}

void run_bilinear(uintptr_t y, uintptr_t x, int64_t n, int64_t c, int64_t in_h, int64_t in_w, int64_t out_h,
                  int64_t out_w, double scale_h, double scale_w, bool align_corners, int zero_point, int isa,
                  int threads) {
  const nb::gil_scoped_release release;
  const std::vector<Tap> rows = bilinear_taps({in_h, out_h, scale_h}, align_corners);
  const std::vector<Tap> columns = bilinear_taps({in_w, out_w, scale_w}, align_corners);
  interpolate_bilinear(dense_nhwc<const uint8_t>(x, n, in_h, in_w, c), dense_nhwc<uint8_t>(y, n, out_h, out_w, c),
                       rows.data(), columns.data(), zero_point, static_cast<Isa>(isa), threads);
}

void run_nearest(uintptr_t y, uintptr_t x, int64_t n, int64_t c, int64_t in_h, int64_t in_w, int64_t out_h,
                 int64_t out_w, double scale_h, double scale_w, int threads) {
  const nb::gil_scoped_release release;
  const std::vector<int64_t> rows = nearest_indices({in_h, out_h, scale_h});
  const std::vector<int64_t> columns = nearest_indices({in_w, out_w, scale_w});
  interpolate_nearest(dense_nhwc<const uint8_t>(x, n, in_h, in_w, c), dense_nhwc<uint8_t>(y, n, out_h, out_w, c),
                      rows.data(), columns.data(), threads);
}

}  // namespace

void bind_resize(nb::module_& m) {
  m.def("interpolate_bilinear", run_bilinear);
  m.def("interpolate_nearest", run_nearest);
}

}  // namespace fxquant
