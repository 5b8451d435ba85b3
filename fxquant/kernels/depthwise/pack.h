// The layout of a packed depthwise layer.
//
// Channels are cut into blocks, `width` channels each, a multiple of 16; channels past the last are zeros. A block is
//   int32 bias[width]          with (activation_offset - x_zero_point) * sum(weight) folded in
//   float multiplier[width]
//   int8  weight[groups][kernel_w][width][4]   the taps (4 * group + 0 .. 3, j) of a channel: a quad, padded by zeros
// all three in the order in which interleaving bytes within 128-bit lanes leaves channels: slot s of `width` holds
//   channel(s) = 16 * (s % (width / 4) / 4) + 4 * (s / (width / 4)) + s % 4.
// With width 16 that is the natural order.
//
// A filter that is wider than high wastes fewer taps of its quads if height and width are exchanged.
#pragma once
#include <cstdint>

#include "depthwise/depthwise.h"

namespace fxquant {

// The bytes of the ISA's widest vector, or of a narrower one that holds what is left.
inline int32_t depthwise_block_width(Isa isa, int64_t channels_left) {
  if (isa == Isa::avx512vnni && channels_left > 32) return 64;
  const bool has_32 = isa == Isa::avx2 || isa == Isa::avxvnni || isa == Isa::avx512vnni;
  return has_32 && channels_left > 16 ? 32 : 16;
}

inline int64_t depthwise_quads(int32_t kernel_h, int32_t kernel_w) { return (kernel_h + 3) / 4 * int64_t{kernel_w}; }

inline bool depthwise_transposes(const DepthwiseGeometry& g) {
  return depthwise_quads(g.kernel_w, g.kernel_h) < depthwise_quads(g.kernel_h, g.kernel_w);
}

inline int64_t depthwise_bytes_per_channel(const DepthwiseGeometry& g) {
  return 8 + 4 * depthwise_quads(g.kernel_h, g.kernel_w);
}

inline int64_t depthwise_channel_of_slot(int64_t slot, int64_t width) {
  const int64_t lanes = width / 4;
  return 16 * (slot % lanes / 4) + 4 * (slot / lanes) + slot % 4;
}

// Exchanges height and width.
inline DepthwiseGeometry depthwise_transposed(const DepthwiseGeometry& g) {
  return {g.kernel_w, g.kernel_h,  g.stride_w,   g.stride_h,   g.pad_left,
          g.pad_top,  g.pad_right, g.pad_bottom, g.dilation_w, g.dilation_h};
}

template <class T>
Nhwc<T> depthwise_transposed(const Nhwc<T>& t) {
  return {t.data, t.n, t.w, t.h, t.c, t.stride_n, t.stride_w, t.stride_h};
}

}  // namespace fxquant
