// Dot products (contract in dot_scalar.h) for AVX-VNNI: vpdpbusd ymm.
#pragma once
#include "base/dot_avx2.h"
#include "base/vnni_ymm.h"

namespace fxquant {
namespace {

struct AvxVnniDot : YmmDot {
  static constexpr int kRows = 6;
  using Activations = __m256i;
  using Weights = __m256i;

  static Activations broadcast(uint32_t bytes) { return _mm256_set1_epi32(static_cast<int>(bytes)); }
  static Weights weights(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static Activations activations(const uint8_t* p) { return weights(p); }
  static Activations activations(const uint8_t* p, int64_t count) {
    uint8_t bytes[4 * kCount] = {};
    for (int64_t i = 0; i < count; ++i) bytes[i] = p[i];
    return activations(bytes);
  }
  static Weights flipped(const uint8_t* p) { return _mm256_xor_si256(weights(p), _mm256_set1_epi8(-128)); }
  static Weights ones() { return _mm256_set1_epi8(1); }
  static Acc dot(Acc acc, Activations x, Weights w) { return dpbusd(acc, x, w); }
};

}  // namespace
}  // namespace fxquant
