#include "lookup/lookup.h"

#include "base/few_bytes.h"
#include "base/kernel_rows.h"

namespace fxquant {

#define KERNELS(isa, table) extern const LookupKernels table;
#include "lookup/kernels.inc"
#undef KERNELS

namespace {

constexpr KernelRow<LookupKernels> kRows[] = {
#define KERNELS(isa, table) {Isa::isa, &table},
#include "lookup/kernels.inc"
#undef KERNELS
};

void lookup_strided(const Plane<2>& plane, uint8_t* y, const uint8_t* x, const uint8_t* table) {
  for (int64_t r = 0; r < plane.rows; ++r) {
    for (int64_t i = 0; i < plane.length; ++i) {
      y[r * plane.row[0] + i * plane.step[0]] = table[x[r * plane.row[1] + i * plane.step[1]]];
    }
  }
}

void lookup_channels(const Plane<3>& plane, uint8_t* y, const uint8_t* x, const uint8_t* tables) {
  for (int64_t r = 0; r < plane.rows; ++r) {
    for (int64_t i = 0; i < plane.length; ++i) {
      const uint8_t code = x[r * plane.row[1] + i * plane.step[1]];
      y[r * plane.row[0] + i * plane.step[0]] = tables[r * plane.row[2] + i * plane.step[2] + code];
    }
  }
}

// The same for rows of neighbouring channels, eight codes in a word and eight entries to one; at a time as many
// channels as have their tables in half of an L1 cache.
void lookup_neighbours(const Plane<3>& plane, uint8_t* y, const uint8_t* x, const uint8_t* tables) {
  constexpr int64_t kBand = 64;
  for (int64_t c = 0; c < plane.length; c += kBand) {
    const int64_t count = plane.length - c < kBand ? plane.length - c : kBand;
    for (int64_t r = 0; r < plane.rows; ++r) {
      const uint8_t* from = x + r * plane.row[1] + c;
      uint8_t* to = y + r * plane.row[0] + c;
      const uint8_t* table = tables + r * plane.row[2] + c * kTableSize;
      int64_t i = 0;
      for (; i + 8 <= count; i += 8, table += 8 * kTableSize) {
        const auto codes = load_as<uint64_t>(from + i);
        uint64_t entries = 0;
        for (int k = 0; k < 8; ++k) {
          entries |= uint64_t{table[k * kTableSize + (codes >> 8 * k & 255)]} << 8 * k;
        }
        store_as<uint64_t>(to + i, entries);
      }
      for (; i < count; ++i, table += kTableSize) to[i] = table[from[i]];
    }
  }
}

}  // namespace

void lookup(const Walk<2>& walk, uint8_t* y, const uint8_t* x, const uint8_t* table, Isa isa, int threads) {
  const LookupKernels& kernels = kernels_of(kRows, isa);
  for_each_plane(walk, threads, [&](const Plane<2>& plane) {
    uint8_t* to = y + plane.offset[0];
    const uint8_t* from = x + plane.offset[1];
    if (plane.step[0] != 1 || plane.step[1] != 1) return lookup_strided(plane, to, from, table);
    for (int64_t r = 0; r < plane.rows; ++r) {
      kernels.run(from + r * plane.row[1], to + r * plane.row[0], plane.length, table);
    }
  });
}

void lookup_per_channel(const Walk<3>& walk, uint8_t* y, const uint8_t* x, const uint8_t* tables, Isa isa,
                        int threads) {
  const LookupKernels& kernels = kernels_of(kRows, isa);
  for_each_plane(walk, threads, [&](const Plane<3>& plane) {
    uint8_t* to = y + plane.offset[0];
    const uint8_t* from = x + plane.offset[1];
    const uint8_t* table = tables + plane.offset[2];
    const bool dense = plane.step[0] == 1 && plane.step[1] == 1;
    if (dense && plane.step[2] == kTableSize) return lookup_neighbours(plane, to, from, table);
    if (!dense || plane.step[2] != 0) return lookup_channels(plane, to, from, table);
    for (int64_t r = 0; r < plane.rows; ++r) {
      kernels.run(from + r * plane.row[1], to + r * plane.row[0], plane.length, table + r * plane.row[2]);
    }
  });
}

}  // namespace fxquant
