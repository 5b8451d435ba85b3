// What is added to the probability of key j before it is rounded, in -0.5 .. 0.5 of a step:
//   o[j] = int16(j * 40503) / 65536                                              as int16 wraps around
// Rounded to the nearest, the tail of a row of many keys would all become 0, and with it what they weigh. With an
// offset that takes each part of a step as often as any other, the mean error of what is rounded is 0 (dither: Roberts,
// Picture coding using pseudo-random noise, IRE Trans. Inf. Theory 8, 1962; Schuchman, Dither signals and their effect
// on quantization noise, IEEE Trans. Commun. Tech. 12, 1964). 40503 / 65536 is the golden ratio's fraction: any run of
// its multiples is spread over the step about as evenly as can be (Niederreiter, Random Number Generation and
// Quasi-Monte Carlo Methods, 1992, section 3.1; Knuth, The Art of Computer Programming 3, section 6.4), so that few
// keys will do.
//
// With 16 fractional bits 255 + o[j] is exact in float32 and below 255.5: a sum rounds to 0..255, and that of 0 to 0.
#pragma once
#include <cstdint>

namespace fxquant {

inline float dither(int64_t j) { return static_cast<float>(static_cast<int16_t>(j * 40503)) / 65536.0F; }

}  // namespace fxquant
