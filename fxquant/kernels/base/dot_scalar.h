// What a product of two activations is made of: what every dot_<isa>.h offers beside the lanes of the ISA.
//
//   kRows, kVectors     a tile: rows times vectors of kCount columns
//   kOverlappedRows     rows of a tile that leaves registers for something else between its products; 0: none does
//   Acc                 kCount accumulators, int32
//   Activations         four bytes of a row, the same for every lane; Weights: four signed bytes for each lane
//   dot                 acc[lane] += sum of 4 u8 * s8, exact
//   activations         4 * kCount bytes of a row, or so many and zeros; flipped: these minus 128 as weights; ones:
//                       weights of 1
//   total               the sum of the lanes
//   kReducesSeveral     whether there are, for vectors that are reduced at once,
//   totals, largests    the sum or the largest of the lanes of each, to where there is room for a multiple of eight
//   store_pairs_u8      where kVectors is 2: store_u8 of two F32 to each of two places
//   store4_words        four F32 rounded to integers in 0..65535, in an order of the ISA's own
//   store4_high_bytes   of such integers, plus those at `words` that store4_words wrote; one after another
//   interleave          kCount columns of four rows, each column's four bytes side by side
//   gather              sixteen bytes of kCount columns, `stride` apart: four of each side by side, four times
#pragma once
#include "base/lanes_scalar.h"

namespace fxquant {
namespace {

struct ScalarDot : ScalarLanes {
  static constexpr int kRows = 2, kVectors = 4, kOverlappedRows = 0;
  static constexpr bool kReducesSeveral = false;
  using Acc = int32_t;
  using Activations = uint32_t;
  using Weights = uint32_t;

  static Acc load_i32(const int32_t* p) { return *p; }
  static Acc splat_i32(int32_t v) { return v; }
  static Acc add_i32(Acc a, Acc b) { return static_cast<Acc>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b)); }
  static Acc mul_i32(Acc a, Acc b) { return static_cast<Acc>(static_cast<uint32_t>(a) * static_cast<uint32_t>(b)); }
  static int32_t total(Acc v) { return v; }
  static void store_i32(int32_t* p, Acc v) { *p = v; }
  static void store4_words(uint16_t* p, const F32 (&v)[4]) {
    for (int k = 0; k < 4; ++k) p[k] = static_cast<uint16_t>(std::lrintf(v[k]));
  }
  static void store4_high_bytes(uint8_t* p, const F32 (&v)[4], const uint16_t* words) {
    for (int k = 0; k < 4; ++k) p[k] = static_cast<uint8_t>((std::lrintf(v[k]) + words[k]) >> 8);
  }
  static F32 to_float(Acc v) { return static_cast<F32>(v); }
  static Activations broadcast(uint32_t bytes) { return bytes; }
  static Weights weights(const uint8_t* p) {
    Weights w;
    std::memcpy(&w, p, 4);
    return w;
  }
  static Acc dot(Acc acc, Activations x, Weights w) {
    for (int k = 0; k < 32; k += 8) acc += static_cast<int32_t>(x >> k & 255) * static_cast<int8_t>(w >> k & 255);
    return acc;
  }
  static Activations activations(const uint8_t* p) { return weights(p); }
  static Activations activations(const uint8_t* p, int64_t count) {
    uint8_t bytes[4 * kCount] = {};
    for (int64_t i = 0; i < count; ++i) bytes[i] = p[i];
    return activations(bytes);
  }
  static Weights flipped(const uint8_t* p) { return weights(p) ^ 0x80808080; }
  static Weights ones() { return 0x01010101; }
  static void interleave(const uint8_t* const (&row)[4], uint8_t* to) {
    for (int k = 0; k < 4; ++k) to[k] = *row[k];
  }
  static void gather(const uint8_t* from, int64_t, uint8_t* to, int64_t step) {
    for (int s = 0; s < 4; ++s) std::memcpy(to + s * step, from + 4 * s, 4);
  }
};

}  // namespace
}  // namespace fxquant
