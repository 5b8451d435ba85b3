// Winograd convolution in integers: what conv/conv.h says of a dense 3x3 kernel with stride 1, bit for bit, from a
// quarter of the products, each of int16 instead of bytes.
//
// F(4x4, 3x3) of Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, section 4. For a tile, d its 6x6
// inputs, g the 3x3 weights, y the 4x4 sums of one channel, "o" elementwise:
//   f_r f_c y[r, c] = (A [(G g G') o (B d B')] A')[r, c]      f = (24, 12, 6, 6)
//       |6  0  0|       |4  0 -5  0  1  0|
//       |-1 -1 -1|      |0 -4 -4  1  1  0|      |1  4  4  1  1  0|
//   G = |-1  1 -1|  B = |0  4 -4 -1  1  0|  A = |0  2 -2  1 -1  0|
//       |1  2  4|       |0 -2 -1  2  1  0|      |0  1  1  1  1  0|
//       |1 -2  4|       |0  2 -1 -2  1  0|      |0  1 -1  2 -2  1|
//       |0  0  6|       |0  4  0 -5  0  1|
// where the rows of the published G are multiplied by (24, 6, 6, 24, 24, 6), so that all is integer, and those of A by
// f. |B d B'| <= 17340 and |G g G'| <= 6272 fit int16. The sum over input channels, of 36 products for each tile, is a
// matrix product; it and the transform by A run modulo 2^32. There f_r f_c = 9 * 2^s has its 9 divided away, and a
// shift by s gives y, exact if |64 y| < 2^31. That is known of the weights, so others are refused when they are packed.
//
// Packed: header | table[256] | panel 0, panel 1, ...
//   panel: bias[columns] int32 | multiplier[columns] float | (G g G')[36][channel pair][columns][2] int16
// with columns permuted as gemm/pack.h has it.
#pragma once
#include <cstdint>

#include "conv/conv.h"
#include "gemm/gemm.h"

namespace fxquant {

bool winograd_supported(Isa isa);

// Whether these weights may be packed for `isa`: a dense 3x3 kernel over a multiple of 16 channels, exact as said
// above. A kernel with another stride or dilation looks the same here; nobody may run it so.
bool winograd_fits(const LayerWeights& layer, Isa isa);

// Whether that is worth while for `images` outputs of h x w pixels.
bool winograd_pays(int64_t images, int64_t h, int64_t w, int64_t in_channels, int64_t out_channels);

int64_t winograd_packed_size(const LayerWeights& layer, Isa isa);

// Packs into `packed`, 64-byte aligned, of winograd_packed_size bytes, what winograd_fits.
void pack_winograd(const LayerWeights& layer, Isa isa, uint8_t* packed);

// Bytes of scratch. Pointers are not followed, but for `packed`.
int64_t winograd_scratch_size(const Conv& conv);

// As run_conv, on weights packed by pack_winograd. Reads nothing around x.
void run_winograd(const Conv& conv, int threads);

}  // namespace fxquant
