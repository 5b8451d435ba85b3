"""Images that lie in pieces, one for each thread, so that what a thread writes stays in its own cache.

    a buffer of 14 rows   ->   one of rows 0..7, which thread 0 writes, and one of rows 6..13, which thread 1 writes

In one buffer after the other, the same bytes would belong to the upper rows of one image and to the lower rows of the
next, and move from core to core at every run. Kernels find each row at the same distance from the last one, so a piece
is, to them, an image of which they compute some rows. The rows that a window reads beyond a thread's own are copied.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from fxquant.runtime.call import Call
from fxquant.runtime.memory import ARENA, Buffer
from fxquant.runtime.value import Halo, Value

# Kernels load whole vectors, which reach so many bytes beyond the pixels that they read, at most. They may
# also read what lies between one line of a padded image and the next.
BEYOND = 256

Rows = tuple[int, int]


@dataclass(frozen=True)
class Layout:
    """What all values in a buffer have in common: rows, the bytes of a row and of a pixel, and the halo."""

    height: int
    row: int
    pixel: int
    halo: Halo

    def holds(self, value: Value) -> bool:
        """Whether `value` is an image of this layout, or some channels of one."""
        outside = self.halo.rows * self.row + self.halo.columns * self.pixel
        return _layout(value) == self and 0 <= value.offset - outside <= self.pixel - value.shape[1]


@dataclass(frozen=True)
class Piece:
    """Rows `first` and on of an image, in a buffer of their own; `own`: those that its thread writes."""

    buffer: Buffer
    layout: Layout
    first: int
    own: Rows

    def of(self, value: Value) -> Value:
        """The same rows as those of `value`, which lies in the whole, here: valid for rows that are here."""
        return replace(value, buffer=self.buffer, offset=value.offset + self._shift())

    def rows(self, value: Value, rows: Rows) -> Value:
        """Some rows of `value`, which lies in the whole, here, with the halo at both sides of them."""
        columns = value.halo.columns
        wide = value.narrow(3, -columns, value.shape[3] + 2 * columns)
        return self.of(wide.narrow(2, rows[0], rows[1] - rows[0]))

    def _shift(self) -> int:
        return BEYOND - (self.first + self.layout.halo.rows) * self.layout.row


def in_pieces(calls: Sequence[Call], threads: int) -> tuple[list[Call], list[Buffer]]:
    """The same work on pieces where all calls that touch a buffer are in shares; and the buffers of all pieces."""
    pieces = _pieces(calls, threads)
    result: list[Call] = []
    for call in calls:
        if not call.shares:
            result.append(call)
        elif call.fills_halo:
            result.append(_filled(call, pieces))
        else:
            result += [*_brought(call, pieces), _moved(call, pieces)]
    return result, [piece.buffer for each in pieces.values() for piece in each]


def _pieces(calls: Sequence[Call], threads: int) -> dict[Buffer, list[Piece]]:
    layouts: dict[Buffer, Layout | None] = {}
    written: dict[Buffer, set[tuple[Rows, ...]]] = defaultdict(set)
    touched: dict[Buffer, list[list[Rows]]] = defaultdict(lambda: [[] for _ in range(threads)])
    for call in calls:
        fits = len(call.shares) == threads or call.fills_halo
        for i, value in enumerate(call.operands):
            if value is None or value.buffer.base != ARENA:
                continue
            layout = layouts.setdefault(value.buffer, _layout(value))
            if layout is None or not fits or not layout.holds(value):
                layouts[value.buffer] = None
            elif not call.fills_halo:
                rows = tuple(_rows_of(call, share, i) for share in call.shares)
                for each, some in zip(touched[value.buffer], rows, strict=True):
                    each.append(some)
                if i == 0:
                    written[value.buffer].add(rows)
    return {
        buffer: [_piece(layout, *each) for each in zip(range(threads), own, touched[buffer], strict=True)]
        for buffer, layout in layouts.items()
        for own in written[buffer]
        if layout is not None and len(written[buffer]) == 1 and _from_neighbours(own, touched[buffer])
    }


def _piece(layout: Layout, thread: int, own: Rows, touched: Sequence[Rows]) -> Piece:
    first = min(own[0] - layout.halo.rows, *(begin for begin, _ in touched))
    last = max(own[1] + layout.halo.rows, *(end for _, end in touched))
    size = (last - first) * layout.row + 2 * (BEYOND + layout.halo.columns * layout.pixel)
    return Piece(Buffer(size, thread=thread), layout, first, own)


def _from_neighbours(own: Sequence[Rows], touched: Sequence[Sequence[Rows]]) -> bool:
    """Whether all that a thread reads is its own or that of a thread next to it, or lies beyond the image."""
    above = all(begin >= own[i - 1][0] for i, rows in enumerate(touched) if i > 0 for begin, _ in rows)
    below = all(end <= own[i + 1][1] for i, rows in enumerate(touched[:-1]) for _, end in rows)
    return above and below


def _layout(value: Value) -> Layout | None:
    if not value.is_images or value.shape[0] != 1 or value.dtype is not torch.uint8:
        return None
    return Layout(value.shape[2], value.strides[2], value.strides[3], value.halo)


def _rows_of(call: Call, share: Call, operand: int) -> Rows:
    """The rows of an operand that a share of `call` touches."""
    if share.rows is not None:
        return share.rows_of(operand)
    value, narrowed = call.operands[operand], share.operands[operand]
    assert value is not None
    assert narrowed is not None
    begin = (narrowed.offset - value.offset) // value.strides[2]
    return begin, begin + narrowed.shape[2]


def _moved(call: Call, pieces: dict[Buffer, list[Piece]]) -> Call:
    def moved(value: Value | None, thread: int) -> Value | None:
        return pieces[value.buffer][thread].of(value) if value is not None and value.buffer in pieces else value

    shares = [
        replace(share, operands=tuple(moved(value, thread) for value in share.operands))
        for thread, share in enumerate(call.shares)
    ]
    return replace(call, shares=tuple(shares))


def _filled(call: Call, pieces: dict[Buffer, list[Piece]]) -> Call:
    """Every thread fills the halo of its piece; what is no halo of the whole is written over later."""
    whole = call.y
    if whole.buffer not in pieces:
        return call
    shares = []
    for piece in pieces[whole.buffer]:
        own = whole.narrow(2, piece.own[0], piece.own[1] - piece.own[0])
        shares.append(replace(call, operands=(replace(piece.of(own), halo=whole.halo),)))
    return replace(call, shares=tuple(shares))


def _brought(call: Call, pieces: dict[Buffer, list[Piece]]) -> Iterator[Call]:
    """Copies of the rows that the threads above and below have written and this call reads, one a thread at a time."""
    x = call.x
    if x is None or x.buffer not in pieces:
        return
    mine = pieces[x.buffer]
    wanted = [list(_missing(call, share, x, mine, thread)) for thread, share in enumerate(call.shares)]
    nothing = mine[0].rows(x, (0, 0))
    for i in range(max(map(len, wanted))):
        shares = [
            Call(call.node, "copy", copies[i] if i < len(copies) else (nothing, nothing), ()) for copies in wanted
        ]
        yield Call(call.node, "copy", (x, x), (), shares=tuple(shares))


def _missing(call: Call, share: Call, x: Value, mine: Sequence[Piece], thread: int) -> Iterator[tuple[Value, Value]]:
    """Where the rows of `x` that a share reads and another thread writes belong, and where they lie."""
    (begin, end), own = _rows_of(call, share, 1), mine[thread].own
    for rows, source in (((max(begin, 0), own[0]), thread - 1), ((own[1], min(end, x.shape[2])), thread + 1)):
        if rows[0] < rows[1]:
            yield mine[thread].rows(x, rows), mine[source].rows(x, rows)
