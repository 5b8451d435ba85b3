// Up to eight bytes in a word, for machines without byte masks: put together from loads, or taken apart to stores, that
// overlap. The first byte is the lowest.
#pragma once
#include <cstdint>

namespace fxquant {
namespace {

template <class T>
inline T load_as(const uint8_t* p) {
  T value;
  __builtin_memcpy(&value, p, sizeof(T));
  return value;
}

template <class T>
inline void store_as(uint8_t* p, uint64_t bytes) {
  const T value = static_cast<T>(bytes);
  __builtin_memcpy(p, &value, sizeof(T));
}

// The first `count` bytes at p, zeros above; of a count beyond 8, eight.
inline uint64_t load_bytes(const uint8_t* p, int64_t count) {
  if (count >= 8) return load_as<uint64_t>(p);
  if (count >= 4) return load_as<uint32_t>(p) | uint64_t{load_as<uint32_t>(p + count - 4)} << 8 * (count - 4);
  if (count >= 2) return load_as<uint16_t>(p) | uint64_t{load_as<uint16_t>(p + count - 2)} << 8 * (count - 2);
  return count == 1 ? *p : 0;
}

// Likewise to p.
inline void store_bytes(uint8_t* p, int64_t count, uint64_t bytes) {
  if (count >= 8) return store_as<uint64_t>(p, bytes);
  if (count >= 4) {
    store_as<uint32_t>(p, bytes);
    store_as<uint32_t>(p + count - 4, bytes >> 8 * (count - 4));
  } else if (count >= 2) {
    store_as<uint16_t>(p, bytes);
    store_as<uint16_t>(p + count - 2, bytes >> 8 * (count - 2));
  } else if (count == 1) {
    *p = static_cast<uint8_t>(bytes);
  }
}

}  // namespace
}  // namespace fxquant
