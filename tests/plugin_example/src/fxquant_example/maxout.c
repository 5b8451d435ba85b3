#include <stdint.h>

/* y[n][l][c] = max over p of x[n][c * pieces + p][l], x of any strides and y dense. */
void maxout_u8(const uint8_t* x, uint8_t* y, int64_t batch, int64_t channels, int64_t pixels, int64_t pieces,
               int64_t batch_stride, int64_t channel_stride, int64_t pixel_stride) {
  for (int64_t n = 0; n < batch; ++n) {
    for (int64_t l = 0; l < pixels; ++l) {
      const uint8_t* at = x + n * batch_stride + l * pixel_stride;
      for (int64_t c = 0; c < channels; ++c) {
        uint8_t most = 0;
        for (int64_t p = 0; p < pieces; ++p, at += channel_stride) most = *at > most ? *at : most;
        *y++ = most;
      }
    }
  }
}
