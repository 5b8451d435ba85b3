// Tiles of queries, and the values that their probabilities weigh. For a Machine of tile.h.
//
// Where a Machine overlaps, the probabilities of a tile are made between the products of the one before with values.
#pragma once
#include "matmul/blocks.h"
#include "matmul/probabilities.h"

namespace fxquant {
namespace {

// Tiles of probabilities that are kept.
template <class M>
constexpr int kKeptTiles = kOverlaps<M> ? 2 : 1;

// A tile whose probabilities are there: its queries [first, first + rows), which see `keys`.
struct WeighedTile {
  int rows;
  int64_t first, keys;
  const uint8_t* probabilities;
};

// The queries [begin, end) in tiles:
//   scores(first, probabilities, most)   the masked scores of a tile, and of each row the largest; returns the tile
//   values(tile, Index<rows>, pending)   the results of a tile, and what is pending between their products
// `probabilities` has room for kKeptTiles, `of_tile` bytes each.
template <class M, class Scores, class Values>
void for_each_weighed_tile(int64_t begin, int64_t end, uint8_t* probabilities, int64_t of_tile, const Scores& scores,
                           const Values& values) {
  WeighedTile before{};
  NothingPending nothing;
  const auto finish = [&](auto& pending) {
    if (before.rows == 0) return;
    with_count<kTileRows<M>>(before.rows, [&](auto rows) { values(before, rows, pending); });
  };
  uint8_t *now = probabilities, *other = probabilities + (kKeptTiles<M> - 1) * of_tile;
  for_each_tile<kTileRows<M>>(begin, end, [&](int64_t first, auto rows) {
    PerRow<float, decltype(rows)() + 0> most;
    const QueryTile tile = scores(first, now, most);
    PendingProbabilities<M> pending(tile, most.of, rows);
    if (kOverlaps<M>) finish(pending);
    while (pending.any()) pending.next();
    before = {rows, first, tile.keys, now};
    if (!kOverlaps<M>) finish(nothing);
    uint8_t* const next = other;
    other = now;
    now = next;
  });
  if (kOverlaps<M>) finish(nothing);
}

// Steps over k between which one of those pending is to come, so that they are spread over all panels.
template <class M, class Pending>
int64_t steps_between(const Pending& pending, int64_t keys, int64_t width) {
  const int64_t panels = (width + kColumns<M> - 1) / kColumns<M>, count = pending.count();
  return count > 0 ? panels * ((keys + 3) / 4) / count : 0;
}

// acc = the product of a tile's probabilities, `stride` apart, with a panel of values.
template <class M, int Rows, class Pending>
FXQUANT_UNROLLED inline void weigh(typename M::Acc (&acc)[Rows][M::kVectors], const WeighedTile& tile, int64_t stride,
                                   const uint8_t* panel, int64_t distance, Pending& pending) {
  begin_tile<M>(acc, panel);
  // Behind the last key there are zeros, on both sides, up to a whole step.
  TileSteps<M, Rows> products(tile.probabilities, stride, panel);
  int64_t left = (tile.keys + 3) / 4;
  for (; left >= distance && pending.any(); left -= distance) {
    pending.next();
    for (int64_t step = distance; step > 0; --step) products.next(acc);
  }
  for (; left > 0; --left) products.next(acc);
}

}  // namespace
}  // namespace fxquant
