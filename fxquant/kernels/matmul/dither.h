// What is added to the probability of key j, in 256ths of a step, before it is cut to whole steps:
//   dither(j) = uint16(j * 40503 + 32768) >> 8                           0 .. 255; 128, which rounds, for the first key
// Rounded to the nearest, the tail of a row of many keys would all become 0, and with it what they weigh. With an
// offset that takes each part of a step as often as any other, the mean error of what is rounded is 0 (dither: Roberts,
// Picture coding using pseudo-random noise, IRE Trans. Inf. Theory 8, 1962; Schuchman, Dither signals and their effect
// on quantization noise, IEEE Trans. Commun. Tech. 12, 1964). 40503 / 65536 is the golden ratio's fraction: any run of
// its multiples is spread over the step about as evenly as can be (Niederreiter, Random Number Generation and
// Quasi-Monte Carlo Methods, 1992, section 3.1; Knuth, The Art of Computer Programming 3, section 6.4), so that few
// keys will do.
//
// 255 * 256 + dither(j) has 16 bits, of which the high byte is the result; that of 0 + dither(j) is 0.
#pragma once
#include <cstdint>

namespace fxquant {

inline int32_t dither(int64_t j) { return static_cast<uint16_t>(j * 40503 + 32768) >> 8; }

}  // namespace fxquant
