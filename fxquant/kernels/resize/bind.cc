// Steps of interpolation. Source positions follow from the sizes, once.
#include "base/bind.h"

#include <vector>

#include "resize/source.h"

namespace nb = nanobind;

namespace fxquant {
namespace {

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

Step bilinear_step(const View& y, const View& x, double scale_h, double scale_w, bool align_corners, int zero_point,
                   int isa) {
  Nhwc<uint8_t> to = images_of<uint8_t>(y);
  Nhwc<const uint8_t> from = images_of<const uint8_t>(x);
  const std::vector<Tap> rows = bilinear_taps({from.h, to.h, scale_h}, align_corners);
  const std::vector<Tap> columns = bilinear_taps({from.w, to.w, scale_w}, align_corners);
  return [=, to_place = y.place, from_place = x.place](const Frame& frame) {
    interpolate_bilinear(from.with(frame.at<const uint8_t>(from_place)), to.with(frame.at<uint8_t>(to_place)),
                         rows.data(), columns.data(), zero_point, static_cast<Isa>(isa), frame.threads);
  };
}

// One for all instruction sets; `isa` is there so that both interpolations are called alike.
Step nearest_step(const View& y, const View& x, double scale_h, double scale_w, int /*isa*/) {
  Nhwc<uint8_t> to = images_of<uint8_t>(y);
  Nhwc<const uint8_t> from = images_of<const uint8_t>(x);
  const std::vector<int64_t> rows = nearest_indices({from.h, to.h, scale_h});
  const std::vector<int64_t> columns = nearest_indices({from.w, to.w, scale_w});
  return [=, to_place = y.place, from_place = x.place](const Frame& frame) {
    interpolate_nearest(from.with(frame.at<const uint8_t>(from_place)), to.with(frame.at<uint8_t>(to_place)),
                        rows.data(), columns.data(), frame.threads);
  };
}

}  // namespace

void bind_resize(nb::module_& m, ProgramClass& program) {
  bind_step(m, program, "interpolate_bilinear", bilinear_step);
  bind_step(m, program, "interpolate_nearest", nearest_step);
}

}  // namespace fxquant
