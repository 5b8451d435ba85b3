// The transposing loops of quantize and dequantize, in tiles of R::kPixels pixels x 16 channels that are turned in the
// registers R of an ISA. Included by ISA files only.
//
// A word is four channels of one pixel. R::words packs four channel vectors to a word a pixel; the four words of a
// pixel then meet in 16 bytes by a 4 x 4 transposition of words within each 128-bit lane. What comes out as vector i
// holds pixels i, 4 + i, 8 + i ..: dequantize takes the same way back.
#pragma once
#include "quantize/generic.h"

namespace fxquant {
namespace {

constexpr int64_t kTileChannels = 16;

// Where byte i of dense pixels of so many channels, at most four, lies in the words of these pixels.
struct NarrowOrder {
  uint8_t of_channels[5][64] = {};
  constexpr NarrowOrder() {
    for (int channels = 1; channels <= 4; ++channels) {
      for (int i = 0; i < 64; ++i) of_channels[channels][i] = static_cast<uint8_t>(i / channels * 4 + i % channels);
    }
  }
};
constexpr NarrowOrder kNarrowOrder;

template <class R>
void transpose_words(typename R::Bytes (&m)[4]) {
  const typename R::Bytes low01 = R::unpack_low32(m[0], m[1]), high01 = R::unpack_high32(m[0], m[1]);
  const typename R::Bytes low23 = R::unpack_low32(m[2], m[3]), high23 = R::unpack_high32(m[2], m[3]);
  m[0] = R::unpack_low64(low01, low23);
  m[1] = R::unpack_high64(low01, low23);
  m[2] = R::unpack_low64(high01, high23);
  m[3] = R::unpack_high64(high01, high23);
}

// Channels c.. of the words of `pixels` pixels: x[k * x_step] for k < channels, zeros behind.
template <class R>
typename R::Bytes load_words(const float* x, int64_t x_step, int64_t pixels, int64_t channels,
                             const QuantizeLanes<typename R::L>& lanes) {
  typename R::L::F32 values[4];
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
    values[k] = k < channels ? lanes.load(x + k * x_step, pixels) : R::L::set(0.0F);
  }
  return R::words(values, lanes.output);
}

template <class R>
void quantize_tile(uint8_t* y, int64_t y_row, const float* x, int64_t x_step, int64_t pixels, int64_t channels,
                   const QuantizeLanes<typename R::L>& lanes) {
  typename R::Bytes words[4];
#pragma GCC unroll 4
  for (int g = 0; g < 4; ++g) words[g] = load_words<R>(x + 4 * g * x_step, x_step, pixels, channels - 4 * g, lanes);
  transpose_words<R>(words);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) R::store_pixels(y + i * y_row, 4 * y_row, words[i], (pixels - i + 3) / 4, channels);
}

template <class R>
void dequantize_tile(float* y, int64_t y_row, const uint8_t* x, int64_t x_step, int64_t pixels, int64_t channels,
                     const DequantizeLanes<typename R::L>& lanes) {
  typename R::Bytes words[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) words[i] = R::load_pixels(x + i * x_step, 4 * x_step, (pixels - i + 3) / 4, channels);
  transpose_words<R>(words);
#pragma GCC unroll 4
  for (int g = 0; g < 4; ++g) {
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      const int64_t c = 4 * g + k;
      if (c < channels) R::L::store_f32(y + c * y_row, pixels, lanes.value(R::channel(words[g], k)));
    }
  }
}

template <class R>
struct Transposed {
  using L = typename R::L;

  // Tiles of [0, pixels) x [0, channels).
  template <class Body>
  static void for_each_tile(int64_t pixels, int64_t channels, const Body& body) {
    for (int64_t p = 0; p < pixels; p += R::kPixels) {
      const int64_t some_pixels = pixels - p < R::kPixels ? pixels - p : R::kPixels;
      for (int64_t c = 0; c < channels; c += kTileChannels) {
        body(p, c, some_pixels, channels - c < kTileChannels ? channels - c : kTileChannels);
      }
    }
  }

  // Dense pixels of at most four channels are one word each, stored without its empty bytes. Returns how many pixels
  // of the plane were done.
  static int64_t quantize_narrow(const Plane<2>& plane, uint8_t* y, const float* x, const QuantizeLanes<L>& lanes) {
    const int64_t channels = plane.length;
    if (channels > 4 || plane.row[0] != channels) return 0;
    const typename R::Narrow narrow(channels);
    int64_t p = 0;
    for (; p + R::kNarrowRoom <= plane.rows; p += R::kPixels) {
      narrow.store(y + p * channels, load_words<R>(x + p, plane.step[1], R::kPixels, channels, lanes));
    }
    return p;
  }

  static void quantize(const Plane<2>& plane, uint8_t* y, const float* x, const QuantizeLanes<L>& lanes) {
    const int64_t y_row = plane.row[0], x_step = plane.step[1];
    const int64_t done = quantize_narrow(plane, y, x, lanes);
    for_each_tile(plane.rows - done, plane.length, [&](int64_t p, int64_t c, int64_t pixels, int64_t channels) {
      quantize_tile<R>(y + (done + p) * y_row + c, y_row, x + c * x_step + done + p, x_step, pixels, channels, lanes);
    });
  }

  static void dequantize(const Plane<2>& plane, float* y, const uint8_t* x, const DequantizeLanes<L>& lanes) {
    const int64_t y_row = plane.row[0], x_step = plane.step[1];
    for_each_tile(plane.length, plane.rows, [&](int64_t p, int64_t c, int64_t pixels, int64_t channels) {
      dequantize_tile<R>(y + c * y_row + p, y_row, x + p * x_step + c, x_step, pixels, channels, lanes);
    });
  }
};

template <class R>
constexpr QuantizeKernels transposing_table() {
  return {quantize_plane<typename R::L, Transposed<R>>, dequantize_plane<typename R::L, Transposed<R>>};
}

}  // namespace
}  // namespace fxquant
