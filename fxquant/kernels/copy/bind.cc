// Steps of what only moves.
#include "base/bind.h"

#include "copy/copy.h"

namespace nb = nanobind;

namespace fxquant {
namespace {

Step copy_step(const View& y, const View& x) {
  return [to = y.place, from = x.place, walk = walk_of<2>({&y, &x})](const Frame& frame) {
    copy(walk, frame.at<uint8_t>(to), frame.at<const uint8_t>(from), frame.threads);
  };
}

Step select_step(const View& y, const View& mask, const View& a, const View& b) {
  return [to = y.place, at_mask = mask.place, at_a = a.place, at_b = b.place,
          walk = walk_of<4>({&y, &mask, &a, &b})](const Frame& frame) {
    select(walk, frame.at<uint8_t>(to), frame.at<const uint8_t>(at_mask), frame.at<const uint8_t>(at_a),
           frame.at<const uint8_t>(at_b), frame.threads);
  };
}

template <class Index>
Step gather_step_of(const View& y, const View& index, const View& x, int64_t step, int64_t size) {
  return [=, to = y.place, at_index = index.place, from = x.place,
          walk = walk_of<3>({&y, &index, &x})](const Frame& frame) {
    const bool right = gather(walk, frame.at<uint8_t>(to), frame.at<const Index>(at_index),
                              frame.at<const uint8_t>(from), step, size, frame.threads);
    if (!right) frame.out_of_range->store(true, std::memory_order_relaxed);
  };
}

Step gather_step(const View& y, const View& index, const View& x, int64_t step, int64_t size, int index_bytes) {
  return index_bytes == 4 ? gather_step_of<int32_t>(y, index, x, step, size)
                          : gather_step_of<int64_t>(y, index, x, step, size);
}

template <class Number>
Step mask_nonzero_step_of(const View& y, const View& x) {
  return [to = y.place, from = x.place, walk = walk_of<2>({&y, &x})](const Frame& frame) {
    mask_nonzero(walk, frame.at<uint8_t>(to), frame.at<const Number>(from), frame.threads);
  };
}

// Of integers of so many bytes, or of floats.
Step mask_nonzero_step(const View& y, const View& x, int bytes, bool floats) {
  switch (bytes) {
    case 1:
      return mask_nonzero_step_of<uint8_t>(y, x);
    case 2:
      return mask_nonzero_step_of<uint16_t>(y, x);
    case 4:
      return floats ? mask_nonzero_step_of<float>(y, x) : mask_nonzero_step_of<uint32_t>(y, x);
    default:
      return floats ? mask_nonzero_step_of<double>(y, x) : mask_nonzero_step_of<uint64_t>(y, x);
  }
}

Step fill_step(const View& y, int value) {
  return [=, to = y.place, walk = walk_of<1>({&y})](const Frame& frame) {
    fill(walk, frame.at<uint8_t>(to), static_cast<uint8_t>(value), frame.threads);
  };
}

Step fill_halo_step(const View& y, int64_t rows, int64_t columns, int value) {
  return [=, to = y.place, images = images_of<uint8_t>(y)](const Frame& frame) {
    fill_halo(images.with(frame.at<uint8_t>(to)), rows, columns, static_cast<uint8_t>(value), frame.threads);
  };
}

}  // namespace

void bind_copy(nb::module_& m, ProgramClass& program) {
  bind_step(m, program, "copy", copy_step);
  bind_step(m, program, "select", select_step);
  bind_step(m, program, "gather", gather_step);
  bind_step(m, program, "mask_nonzero", mask_nonzero_step);
  bind_step(m, program, "fill", fill_step);
  bind_step(m, program, "fill_halo", fill_halo_step);
}

}  // namespace fxquant
