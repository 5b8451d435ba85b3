"""Calls whose rows the threads share out once for all, so that they seldom wait for each other.

    thread 0:  the upper rows of a, of b, of c …        thread 1:  the lower rows of a, of b, of c …

By itself a call cuts its work as suits it best, and ends when all threads are through. In shares, most of what a thread
reads it has written itself, so it comes from its own cache; and it waits only where it comes to memory that others have
to do with: where a window reaches into their rows, or where memory is used again. That is worth most where cores are
far apart: there a cache line that another core has written may take as long as 40 000 multiply-adds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from fxquant.runtime.call import Call
from fxquant.runtime.value import Value

# The largest share may be so many times the mean one: beyond, waiting less does not make up for it.
UNEVEN = 1.1


class Span(NamedTuple):
    """Bytes behind a base."""

    base: int
    begin: int
    end: int

    def meets(self, other: Span) -> bool:
        """Whether they have a byte in common."""
        return self.base == other.base and self.begin < other.end and other.begin < self.end


class Touched(NamedTuple):
    """The memory that a call reads, and that which it writes."""

    read: tuple[Span, ...]
    written: tuple[Span, ...]

    def disturbs(self, other: Touched) -> bool:
        """Whether it matters which of two calls comes first."""
        pairs = [(self.written, other.written), (self.written, other.read), (self.read, other.written)]
        return any(a.meets(b) for left, right in pairs for a in left for b in right)


def in_shares(calls: Iterable[Call], threads: int) -> list[Call]:
    """The same calls, where those that compute some rows at a time are cut into a share for each thread."""
    return [_cut(call, threads) for call in calls] if threads > 1 else list(calls)


def _cut(call: Call, threads: int) -> Call:
    if call.fills_halo:
        return replace(call, shares=(call,))
    if call.window is None or len(call.y.shape) != 4 or call.y.shape[0] != 1:
        return call
    begin, end = call.rows or (0, call.y.shape[2])
    rows = end - begin
    if -(-rows // threads) * threads > UNEVEN * rows:
        return call
    cuts = [begin + rows * i // threads for i in range(threads + 1)]
    return replace(call, shares=tuple(map(call.rows_only, cuts, cuts[1:])))


def waits(calls: Sequence[Call]) -> list[int]:
    """For each call, how many of the calls all threads must have finished before one begins its share.

    Valid once buffers are arranged. A call without shares waits for all before it, and ends when all threads are there.
    """
    result: list[int] = []
    since: dict[int, list[Touched]] = {}
    for step, call in enumerate(calls):
        if not call.shares:
            since = {}
            result.append(0)
            continue
        shares = [touched(share) for share in call.shares]
        after = next((earlier + 1 for earlier in reversed(since) if _disturb(shares, since[earlier])), 0)
        since = {earlier: theirs for earlier, theirs in since.items() if earlier >= after}
        since[step] = shares
        result.append(after)
    return result


def _disturb(shares: Sequence[Touched], others: Sequence[Touched]) -> bool:
    return any(a.disturbs(b) for i, a in enumerate(shares) for j, b in enumerate(others) if i != j)


def touched(call: Call) -> Touched:
    """What a call that is planned touches, at the addresses of arranged buffers."""
    if call.fills_halo:
        halo = call.y.halo.rows
        return Touched((), (_span(call.y, (-halo, call.y.shape[2] + halo)),))
    if call.rows is None:
        return Touched(tuple(map(_span, call.reads)), (_span(call.y),))
    written, *read = (_span(value, call.rows_of(i)) for i, value in enumerate(call.operands) if value is not None)
    return Touched(tuple(read), (written,))


def _span(value: Value, rows: tuple[int, int] | None = None) -> Span:
    """The memory of `value`, or of some of its rows, with the halo at both sides of them."""
    if rows is not None:
        columns = value.halo.columns
        value = value.narrow(2, rows[0], rows[1] - rows[0]).narrow(3, -columns, value.shape[3] + 2 * columns)
    reach = [(size - 1) * stride for size, stride in zip(value.shape, value.strides, strict=True)]
    first = value.buffer.offset + value.offset
    begin = first + sum(min(each, 0) for each in reach) * value.dtype.itemsize
    end = first + (sum(max(each, 0) for each in reach) + 1) * value.dtype.itemsize
    return Span(value.buffer.base, begin, end)
