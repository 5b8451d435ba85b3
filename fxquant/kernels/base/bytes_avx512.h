// The byte vectors of bytes.h for AVX512BW/VL/VBMI: all three widths take fewer channels than their width by a
// mask. Full stores are told apart, since some machines split masked ones.
#pragma once
#include "base/bytes_x86.h"

namespace fxquant {
namespace {

inline __m512i lookup_64(const uint8_t* table, __m512i index) {
  const __m512i low = _mm512_permutex2var_epi8(_mm512_loadu_si512(table), index, _mm512_loadu_si512(table + 64));
  const __m512i high =
      _mm512_permutex2var_epi8(_mm512_loadu_si512(table + 128), index, _mm512_loadu_si512(table + 192));
  return _mm512_mask_mov_epi8(low, _mm512_movepi8_mask(index), high);
}

struct Bytes64Avx512 : BytesX512 {
  using BytesX512::load;
  using BytesX512::store;
  static __mmask64 first(int count) { return _bzhi_u64(~0ULL, static_cast<unsigned>(count)); }
  static Int load(const uint8_t* p, int count) { return _mm512_maskz_loadu_epi8(first(count), p); }
  static void store(uint8_t* p, Int v, int count) {
    if (count == kWidth) return store(p, v);
    _mm512_mask_storeu_epi8(p, first(count), v);
  }
  static Int lookup(const uint8_t* table, Int index) { return lookup_64(table, index); }
};

struct Bytes32Avx512 : BytesX256 {
  using BytesX256::load;
  using BytesX256::store;
  static __mmask32 first(int count) { return _bzhi_u32(~0U, static_cast<unsigned>(count)); }
  static Int load(const uint8_t* p, int count) { return _mm256_maskz_loadu_epi8(first(count), p); }
  static void store(uint8_t* p, Int v, int count) {
    if (count == kWidth) return store(p, v);
    _mm256_mask_storeu_epi8(p, first(count), v);
  }
  static Int lookup(const uint8_t* table, Int index) {
    return _mm512_castsi512_si256(lookup_64(table, _mm512_castsi256_si512(index)));
  }
};

struct Bytes16Avx512 : BytesX128 {
  using BytesX128::load;
  using BytesX128::store;
  static __mmask16 first(int count) { return static_cast<__mmask16>(_bzhi_u32(~0U, static_cast<unsigned>(count))); }
  static Int load(const uint8_t* p, int count) { return _mm_maskz_loadu_epi8(first(count), p); }
  static void store(uint8_t* p, Int v, int count) {
    if (count == kWidth) return store(p, v);
    _mm_mask_storeu_epi8(p, first(count), v);
  }
  static Int lookup(const uint8_t* table, Int index) {
    return _mm512_castsi512_si128(lookup_64(table, _mm512_castsi128_si512(index)));
  }
};

// body(Bytes{}) with the narrowest vector that holds `channels`, or the widest.
template <class Body>
inline void with_bytes(int64_t channels, const Body& body) {
  if (channels > 32) return body(Bytes64Avx512{});
  if (channels > 16) return body(Bytes32Avx512{});
  body(Bytes16Avx512{});
}

}  // namespace
}  // namespace fxquant
