"""Where the buffers of a program lie in its arena.

Two buffers may share bytes if no step finds both alive. One after the other they are placed into the lowest gap that
holds them between those that live at the same time: the largest first (greedy by size: Pisarchyk and Lee 2020,
"Efficient Memory Management for Deep Neural Net Inference", section 4) or, if less is wasted so, the longest-lived.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

ARENA = 0
ALIGNMENT = 64  # a cache line, and the widest vector


@dataclass(eq=False)
class Buffer:
    """A piece of memory of `size` bytes that begins `offset` bytes behind `base`: the arena, an input or output of the
    program, or ABSOLUTE for a constant. Steps `first` to `last` use it."""

    size: int
    base: int = ARENA
    offset: int = 0
    first: int | None = None
    last: int = 0

    def use(self, step: int) -> None:
        """Notes that step number `step` reads or writes the buffer."""
        self.first = step if self.first is None else self.first
        self.last = step

    def meets(self, other: Buffer) -> bool:
        """Whether some step finds both alive."""
        if self.first is None or other.first is None:
            return False
        return self.first <= other.last and other.first <= self.last


def arrange(buffers: Iterable[Buffer]) -> int:
    """Sets the offsets of the arena's buffers. Returns the size of the arena in bytes."""
    used = _used(buffers)
    by_size = sorted(used, key=lambda b: -b.size)
    arena = _place(by_size)
    if arena == lower_bound(used):  # as a rule
        return arena
    by_life = sorted(by_size, key=lambda b: (b.first or 0) - b.last)
    return _place(min(by_size, by_life, key=_place))


def _place(buffers: Iterable[Buffer]) -> int:
    placed: list[Buffer] = []
    for buffer in buffers:
        buffer.offset = _lowest_gap(buffer, [other for other in placed if other.meets(buffer)])
        placed.append(buffer)
    return max((b.offset + _aligned(b.size) for b in placed), default=0)


def lower_bound(buffers: Iterable[Buffer]) -> int:
    """The bytes that are alive at the fullest step: no arrangement needs fewer."""
    used = _used(buffers)
    steps = {b.first for b in used}
    return max((sum(_aligned(b.size) for b in used if _alive(b, step)) for step in steps), default=0)


def _used(buffers: Iterable[Buffer]) -> list[Buffer]:
    return [b for b in buffers if b.base == ARENA and b.first is not None]


def _alive(buffer: Buffer, step: int | None) -> bool:
    return buffer.first is not None and step is not None and buffer.first <= step <= buffer.last


def _aligned(size: int) -> int:
    return (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


def _lowest_gap(buffer: Buffer, others: Sequence[Buffer]) -> int:
    offset = 0
    for other in sorted(others, key=lambda b: b.offset):
        if offset + buffer.size <= other.offset:
            break
        offset = max(offset, other.offset + _aligned(other.size))
    return offset
