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
# How many times the memory that is needed at least may be spent on parts of the arena for each thread.
APART = 1.1


@dataclass(eq=False)
class Buffer:
    """A piece of memory of `size` bytes that begins `offset` bytes behind `base`: the arena, an input or output of the
    program, or ABSOLUTE for a constant. Steps `first` to `last` use it. `thread`: the one that alone writes it, if any,
    in whose part of the arena it then lies."""

    size: int
    base: int = ARENA
    offset: int = 0
    first: int | None = None
    last: int = 0
    thread: int | None = None

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
    """Sets the offsets of the arena's buffers, those of each thread in a part of their own. Returns the arena's bytes.

    Where that would take too much memory, threads have no parts of their own.
    """
    used = _used(buffers)
    placed: list[Buffer] = []
    for thread in sorted({b.thread for b in used if b.thread is not None}):
        own = [b for b in used if b.thread == thread]
        _arrange(own, [], _end(placed))
        placed += own
    arena = _arrange([b for b in used if b.thread is None], placed, 0)
    return arena if not placed or arena <= APART * lower_bound(used) else _arrange(used, [], 0)


def _arrange(buffers: Sequence[Buffer], placed: Sequence[Buffer], floor: int) -> int:
    """Sets the offsets of `buffers`, at `floor` at least, beside those that are `placed`. Returns where all end."""
    by_size = sorted(buffers, key=lambda b: -b.size)
    end = _place(by_size, placed, floor)
    if end <= max(_end(placed), floor + lower_bound(buffers)):  # as a rule
        return end
    by_life = sorted(by_size, key=lambda b: (b.first or 0) - b.last)
    return _place(min(by_size, by_life, key=lambda order: _place(order, placed, floor)), placed, floor)


def _place(buffers: Iterable[Buffer], placed: Sequence[Buffer], floor: int) -> int:
    done = list(placed)
    for buffer in buffers:
        buffer.offset = _lowest_gap(buffer, [other for other in done if other.meets(buffer)], floor)
        done.append(buffer)
    return _end(done)


def _end(placed: Iterable[Buffer]) -> int:
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


def _lowest_gap(buffer: Buffer, others: Sequence[Buffer], floor: int) -> int:
    offset = floor
    for other in sorted(others, key=lambda b: b.offset):
        if offset + buffer.size <= other.offset:
            break
        offset = max(offset, other.offset + _aligned(other.size))
    return offset
