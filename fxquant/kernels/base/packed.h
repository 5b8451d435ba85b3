// Packed weights pass through Python as plain bytes. A checksum in their header tells what a pack function made from
// anything else, so that sizes and offsets of a header can be trusted.
#pragma once
#include <cstdint>
#include <cstring>

namespace fxquant {

// FNV-1a, on words, of all behind the member `checksum`, the first one of `header`.
template <class Header>
uint64_t header_checksum(const Header& header) {
  static_assert(sizeof(Header) % 8 == 0 && sizeof(header.checksum) == 8, "a header is whole words");
  const auto* bytes = reinterpret_cast<const unsigned char*>(&header);
  uint64_t sum = 0xcbf29ce484222325;
  for (size_t i = 8; i < sizeof(Header); i += 8) {
    uint64_t word;
    std::memcpy(&word, bytes + i, 8);
    sum = (sum ^ word) * 0x100000001b3;
  }
  return sum;
}

}  // namespace fxquant
