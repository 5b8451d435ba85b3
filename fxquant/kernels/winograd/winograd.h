// Winograd convolution in integers: what conv/conv.h says of a dense 3x3 kernel with stride 1, bit for bit, from a
// quarter of the products, each of int16 instead of bytes.
//
// F(4x4, 3x3) of Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, section 4. For a tile, d its 6x6
// inputs, g the 3x3 weights, y the 4x4 sums of one channel, "o" elementwise:
//   f_r f_c y[r, c] = (A [(G g G') o (B d B')] A')[r, c]      f = (24, 12, 6, 6)
//       |6  0  0|       |4  0 -5  0  1  0|
//       |1  1  1|       |0  4  4 -1 -1  0|      |1  4  4  1  1  0|
//   G = |1 -1  1|   B = |0 -4  4  1 -1  0|  A = |0  2 -2  1 -1  0|
//       |1  2  4|       |0 -2 -1  2  1  0|      |0  1  1  1  1  0|
//       |1 -2  4|       |0  2 -1 -2  1  0|      |0  1 -1  2 -2  1|
//       |0  0  6|       |0  4  0 -5  0  1|
// where the published rows of G are multiplied by (24, -6, -6, 24, 24, 6), so that all is integer, two rows of B by -1,
// and those of A by f. |B d B'| <= 17340 and |G g G'| <= 6272 fit int16. The sums over input channels are 36 matrix
// products; they and the transform by A run modulo 2^32. There f_r f_c = 9 * 2^s has its 9 divided away, and a shift by
// s gives y, exact if |64 y| < 2^31, which the weights tell.
//
// Weights are packed as for the product of conv/conv.h, and transformed anew in every run: that takes less time than
// fetching the transformed ones, eight times as large, from behind the L2 cache.
#pragma once
#include <cstdint>

#include "conv/conv.h"

namespace fxquant {

// Whether run_winograd can compute `conv` exactly and in less time than the product, on at most `threads` threads.
// Pointers are not followed, but for `packed`, as in winograd_scratch_size.
bool winograd_pays(const Conv& conv, int threads);

// Whether it can.
bool winograd_fits(const Conv& conv);

// As conv_scratch_size.
int64_t winograd_scratch_size(const Conv& conv, int threads);

// As run_conv, for what winograd_fits. Reads nothing around x.
void run_winograd(const Conv& conv, int threads);

}  // namespace fxquant
