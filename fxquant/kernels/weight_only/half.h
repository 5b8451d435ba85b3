// float16, by its bits: 1 of sign, 5 of exponent, 10 of fraction (IEEE 754 binary16).
#pragma once
#include <cstdint>
#include <cstring>

namespace fxquant {

// Exact, whatever the CPU makes of denormal floats.
inline float float_of_half(uint16_t half) {
  const uint32_t exponent = half >> 10 & 31, fraction = half & 1023, sign = static_cast<uint32_t>(half >> 15) << 31;
  if (exponent == 0) return (sign ? -0x1p-24F : 0x1p-24F) * static_cast<float>(fraction);
  const uint32_t bits = sign | (exponent == 31 ? 255 : exponent + 112) << 23 | fraction << 13;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace fxquant
