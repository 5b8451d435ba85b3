"""A kernel call of a program that is being planned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch.fx import Node

from fxquant.kernels.library import View
from fxquant.runtime.value import Value

NOTHING = (0, 0)  # for `ahead`


@dataclass(frozen=True)
class Window:
    """Row r of a result takes the input rows r * stride - padding .. r * stride - padding + reach - 1."""

    reach: int = 1
    stride: int = 1
    padding: int = 0

    def begin(self, row: int) -> int:
        """The first input row that row `row` of the result takes; below 0 it lies in the padding."""
        return row * self.stride - self.padding

    def end(self, rows: int) -> int:
        """How many input rows, from the first on, the first `rows` rows of the result take."""
        return (rows - 1) * self.stride - self.padding + self.reach


@dataclass(frozen=True)
class Call:
    """One call of a kernel on behalf of `node`: a method of the native program, its operands, its other arguments.

    The first operand is written, the second is the one that `window` speaks of: with one, images can be computed some
    rows at a time. A kernel that takes a range of rows has it as `rows`, in front of its other arguments; others are
    given narrower operands. `packed`: address and size of its weights. `ahead`: address and size of those that a later
    call wants, for kernels that fetch them meanwhile; None for the others. `joined`: the calls that are one step of the
    program, see rows.py; then the operands are all of theirs. `shares`: what each thread computes of it, see shares.py.
    """

    node: Node
    kernel: str
    operands: tuple[Value | None, ...]
    constants: tuple[Any, ...]
    window: Window | None = None
    rows: tuple[int, int] | None = None
    packed: tuple[int, int] | None = None
    ahead: tuple[int, int] | None = None
    joined: tuple[Call, ...] = ()
    shares: tuple[Call, ...] = ()

    @property
    def y(self) -> Value:
        """What the call writes."""
        assert self.operands[0] is not None
        return self.operands[0]

    @property
    def fills_halo(self) -> bool:
        """Whether it writes what lies around an image, and none of its rows."""
        return self.kernel == "fill_halo"

    @property
    def x(self) -> Value | None:
        """The first operand that it reads, if it reads any."""
        return self.operands[1] if len(self.operands) > 1 else None

    @property
    def reads(self) -> tuple[Value, ...]:
        """All operands that it reads, scratch included."""
        return tuple(value for value in self.operands[1:] if value is not None)

    @property
    def arguments(self) -> tuple[Any, ...]:
        """As the native program takes them; valid once buffers are arranged."""
        views: list[View] = [() if value is None else value.native for value in self.operands]
        return (*views, *(self.rows or ()), *(self.packed or ()), *(self.ahead or ()), *self.constants)

    def rows_of(self, operand: int) -> tuple[int, int]:
        """The rows of an operand that a call of the range `rows` touches, of its halo as well."""
        value = self.operands[operand]
        assert value is not None
        assert self.rows is not None
        if operand != 1:
            return self.rows
        assert self.window is not None
        begin, end = self.window.begin(self.rows[0]), self.window.end(self.rows[1])
        return max(begin, -value.halo.rows), min(end, value.shape[2] + value.halo.rows)

    def rows_only(self, begin: int, end: int) -> Call:
        """The part of the call that computes the rows [begin, end) of images."""
        if self.rows is not None:
            return replace(self, rows=(begin, end))
        return replace(self, operands=tuple(v and v.narrow(2, begin, end - begin) for v in self.operands))


def fetching_ahead(calls: Sequence[Call], most: int) -> list[Call]:
    """The same calls, where each that can fetch weights ahead fetches those of the next, up to `most` bytes."""
    result: list[Call] = []
    wanted = NOTHING
    for call in reversed(calls):
        result.insert(0, call if call.ahead is None else replace(call, ahead=wanted))
        if call.ahead is not None and call.packed is not None:
            wanted = (call.packed[0], min(call.packed[1], most))
    return result
