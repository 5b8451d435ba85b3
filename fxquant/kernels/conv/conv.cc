#include "conv/conv.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "base/parallel.h"
#include "gemm/pack.h"
#include "winograd/winograd.h"

namespace fxquant {
namespace {

// A padded copy of several images should still lie in L2 when the product reads it.
constexpr int64_t kBlockBytes = 256 * 1024;
// A step of the product reads up to 7 bytes behind the last one.
constexpr int64_t kSlack = 64;

int64_t output_size(int64_t size, int64_t before, int64_t after, int64_t kernel, int64_t dilation, int64_t stride) {
  const int64_t reach = dilation * (kernel - 1) + 1;
  return size + before + after < reach ? 0 : (size + before + after - reach) / stride + 1;
}

// A kernel row is packed as one tap (see pack_product), or may be run as one since whole steps fill its taps.
bool row_is_one_tap(const Conv& c) {
  const PackedHeader& packed = *c.packed;
  if (packed.merged_row) return true;
  const bool whole_steps = c.x.c % panel_layout(packed.isa).step() == 0;
  return whole_steps && packed.packed_groups == 1 && packed.spread == 0 && c.geometry.dilation_w == 1;
}

bool reads_outside(const ConvGeometry& g) {
  return g.pad_top > 0 || g.pad_left > 0 || g.pad_bottom > 0 || g.pad_right > 0;
}

bool needs_copy(const Conv& c) {
  const bool rows_apart = c.x.stride_w != c.x.c && c.packed->merged_row;
  return (reads_outside(c.geometry) && !c.x_has_halo) || rows_apart;
}

// The padded copy of `images` images.
Nhwc<uint8_t> padded_view(const Conv& c, int64_t images) {
  Nhwc<uint8_t> view;
  view.data = c.scratch;
  view.n = images;
  view.h = c.x.h + c.geometry.pad_top + c.geometry.pad_bottom;
  view.w = c.x.w + c.geometry.pad_left + c.geometry.pad_right;
  view.c = c.x.c;
  view.stride_w = view.c;
  view.stride_h = view.w * view.c;
  view.stride_n = view.h * view.stride_h;
  return view;
}

int64_t images_of_block(const Conv& c) {
  const int64_t image = padded_view(c, 1).stride_n;
  return std::clamp<int64_t>(kBlockBytes / std::max<int64_t>(image, 1), 1, std::max<int64_t>(c.x.n, 1));
}

template <class T>
Nhwc<T> images_from(Nhwc<T> view, int64_t first, int64_t count) {
  if (view.data) view.data += first * view.stride_n;
  view.n = count;
  return view;
}

template <class T>
Nhwc<T> rows_of(Nhwc<T> view, int64_t begin, int64_t end) {
  if (view.data) view.data += begin * view.stride_h;
  view.h = end - begin;
  return view;
}

void copy_row(const uint8_t* from, const Nhwc<const uint8_t>& x, uint8_t* to) {
  if (x.stride_w == x.c) {
    std::memcpy(to, from, static_cast<size_t>(x.w * x.c));
    return;
  }
  for (int64_t w = 0; w < x.w; ++w) std::memcpy(to + w * x.c, from + w * x.stride_w, static_cast<size_t>(x.c));
}

void copy_padded(const Conv& c, const Nhwc<const uint8_t>& x, const Nhwc<uint8_t>& to, int threads) {
  const ConvGeometry& g = c.geometry;
  const int zero_point = c.packed->x_zero_point;
  parallel_for(to.n * to.h, to.n * to.stride_n < kBlockBytes / 4 ? 1 : threads, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t n = row / to.h, h = row % to.h - g.pad_top;
      uint8_t* out = to.data + row * to.stride_h;
      if (h < 0 || h >= x.h) {
        std::memset(out, zero_point, static_cast<size_t>(to.stride_h));
        continue;
      }
      std::memset(out, zero_point, static_cast<size_t>(g.pad_left * to.c));
      copy_row(x.at(n, h, 0), x, out + g.pad_left * to.c);
      std::memset(out + (g.pad_left + x.w) * to.c, zero_point, static_cast<size_t>(g.pad_right * to.c));
    }
  });
}

// `input` begins at the first padded pixel; bytes in front of `input_end` are readable.
void run_on(const Conv& c, const Nhwc<const uint8_t>& input, const uint8_t* input_end, int64_t first, int threads) {
  const ConvGeometry& g = c.geometry;
  const bool one_tap = row_is_one_tap(c) && input.stride_w == input.c;
  const int64_t row_end = std::min(c.row_end, c.y.h);
  Product p;
  p.packed = c.packed;
  p.y = rows_of(images_from(c.y, first, input.n), c.row_begin, row_end);
  p.residual = rows_of(images_from(c.residual, first, input.n), c.row_begin, row_end);
  p.a = {input.data + c.row_begin * g.stride_h * input.stride_h,
         input.n,
         p.y.h,
         p.y.w,
         input.c,
         input.stride_n,
         g.stride_h * input.stride_h,
         g.stride_w * input.stride_w};
  p.a_end = input_end;
  p.taps = {g.kernel_h, one_tap ? 1 : g.kernel_w, g.dilation_h * input.stride_h, g.dilation_w * input.stride_w,
            one_tap ? g.kernel_w * input.c : c.packed->tap_bytes};
  p.y_stride_c = c.y_stride_c;
  p.next = c.next;
  run_product(p, threads);
}

void run_in_place(const Conv& c, int threads) {
  const ConvGeometry& g = c.geometry;
  Nhwc<const uint8_t> input = c.x;
  const uint8_t* end = c.x.at(c.x.n - 1, c.x.h - 1 + g.pad_bottom, c.x.w - 1 + g.pad_right) + c.x.c;
  input.data = c.x.at(0, -g.pad_top, -g.pad_left);
  run_on(c, input, end, 0, threads);
}

void run_on_copies(const Conv& c, int threads) {
  const int64_t block = images_of_block(c);
  for (int64_t n = 0; n < c.x.n; n += block) {
    const int64_t images = std::min(block, c.x.n - n);
    const Nhwc<uint8_t> copy = padded_view(c, images);
    copy_padded(c, images_from(c.x, n, images), copy, threads);
    const Nhwc<const uint8_t> input = {copy.data, copy.n,        copy.h,        copy.w,
                                       copy.c,    copy.stride_n, copy.stride_h, copy.stride_w};
    run_on(c, input, copy.data + images * copy.stride_n + kSlack, n, threads);
  }
}

}  // namespace

int64_t ConvGeometry::output_h(int64_t h) const {
  return output_size(h, pad_top, pad_bottom, kernel_h, dilation_h, stride_h);
}

int64_t ConvGeometry::output_w(int64_t w) const {
  return output_size(w, pad_left, pad_right, kernel_w, dilation_w, stride_w);
}

void check_conv(const PackedHeader& packed, const ConvGeometry& g, int64_t in_channels, bool has_residual) {
  const auto require = [](bool holds, const char* reason) {
    if (!holds) throw std::invalid_argument(reason);
  };
  require(in_channels == packed.in_channels,
          "conv2d: the input does not have as many channels as the weights were packed for");
  require(g.out_channels == packed.out_channels && g.kernel_h == packed.kernel_h && g.kernel_w == packed.kernel_w &&
              g.groups == packed.groups && (g.dilation_w == 1 || !packed.merged_row),
          "conv2d: the geometry is not the one that the weights were packed for");
  require(has_residual == (packed.has_residual != 0 || is_dynamic(packed.layer)),
          "conv2d: a residual must be given exactly if the weights were packed for one");
  require(!is_dynamic(packed.layer) || !reads_outside(g), "conv2d: a dynamic layer reads no padding");
}

int64_t direct_scratch_size(const Conv& conv) {
  return needs_copy(conv) ? images_of_block(conv) * padded_view(conv, 1).stride_n + kSlack : 0;
}

void run_direct(const Conv& conv, int threads) {
  if (needs_copy(conv)) {
    run_on_copies(conv, threads);
  } else {
    run_in_place(conv, threads);
  }
}

int64_t conv_scratch_size(const Conv& conv, int threads) {
  return winograd_pays(conv, threads) ? winograd_scratch_size(conv, threads) : direct_scratch_size(conv);
}

void run_conv(const Conv& conv, int threads) {
  if (conv.y.n * conv.y.h * conv.y.w == 0) return;  // also, tensors without elements have no address to check
  check_conv(*conv.packed, conv.geometry, conv.x.c, conv.residual.data != nullptr);
  // What was planned for more threads may have no room for it.
  if (winograd_pays(conv, threads) && winograd_scratch_size(conv, threads) <= conv.scratch_size) {
    run_winograd(conv, threads);
  } else {
    run_direct(conv, threads);
  }
}

}  // namespace fxquant
