// The byte vectors of bytes.h for AVX2, which has no byte masks: fewer channels than the width go through 64-bit
// registers.
#pragma once
#include "base/bytes_x86.h"
#include "base/few_bytes.h"

namespace fxquant {
namespace {

// Index bytes k * 16 .. k * 16 + 15 select from row k of the table; pshufb gives 0 for bytes whose top bit is set.
template <class V, class Shuffle>
inline typename V::Int lookup_rows(typename V::Int index, const Shuffle& shuffle) {
  typename V::Int result = V::zero();
  for (int k = 0; k < 16; ++k) result = V::bit_or(result, shuffle(k, V::in_row(index, k)));
  return result;
}

struct Bytes16Avx2 : BytesX128 {
  using BytesX128::load;
  using BytesX128::store;
  static Int load(const uint8_t* p, int count) {
    if (count == kWidth) return load(p);
    const uint64_t high = count > 8 ? load_bytes(p + 8, count - 8) : 0;
    return _mm_set_epi64x(static_cast<int64_t>(high), static_cast<int64_t>(load_bytes(p, count)));
  }
  static void store(uint8_t* p, Int v, int count) {
    if (count == kWidth) return store(p, v);
    store_bytes(p, count, static_cast<uint64_t>(_mm_cvtsi128_si64(v)));
    if (count > 8) store_bytes(p + 8, count - 8, static_cast<uint64_t>(_mm_extract_epi64(v, 1)));
  }
  static Int bit_or(Int a, Int b) { return _mm_or_si128(a, b); }
  static Int in_row(Int index, int row) {
    return _mm_adds_epu8(_mm_xor_si128(index, splat_8(16 * row)), splat_8(0x70));
  }
  static Int lookup(const uint8_t* table, Int index) {
    return lookup_rows<Bytes16Avx2>(
        index, [&](int k, Int in_row) { return _mm_shuffle_epi8(BytesX128::load(table + 16 * k), in_row); });
  }
};

struct Bytes32Avx2 : BytesX256 {
  using BytesX256::load;
  using BytesX256::store;
  // More than 16 channels.
  static Int load(const uint8_t* p, int count) {
    if (count == kWidth) return load(p);
    return _mm256_set_m128i(Bytes16Avx2::load(p + 16, count - 16), Bytes16Avx2::load(p));
  }
  static void store(uint8_t* p, Int v, int count) {
    if (count == kWidth) return store(p, v);
    Bytes16Avx2::store(p, _mm256_castsi256_si128(v));
    Bytes16Avx2::store(p + 16, _mm256_extracti128_si256(v, 1), count - 16);
  }
  static Int bit_or(Int a, Int b) { return _mm256_or_si256(a, b); }
  static Int in_row(Int index, int row) {
    return _mm256_adds_epu8(_mm256_xor_si256(index, splat_8(16 * row)), splat_8(0x70));
  }
  static Int lookup(const uint8_t* table, Int index) {
    return lookup_rows<Bytes32Avx2>(index, [&](int k, Int in_row) {
      return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(BytesX128::load(table + 16 * k)), in_row);
    });
  }
};

// body(Bytes{}) with the narrowest vector that holds `channels`, or the widest.
template <class Body>
inline void with_bytes(int64_t channels, const Body& body) {
  if (channels > 16) return body(Bytes32Avx2{});
  body(Bytes16Avx2{});
}

}  // namespace
}  // namespace fxquant
