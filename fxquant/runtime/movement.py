"""Data movement in a program: a view of its input where torch would make one, else copies.

Most of what takes copies puts pieces of its input elsewhere, dimension by dimension (Piece): a flip, a roll, a border.
What it gives has the layout of its input, channels last or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from fxquant import ops
from fxquant.graph import surgery
from fxquant.ops.op import Op
from fxquant.runtime.choice import CHOOSES, choose, chooses_across, chosen
from fxquant.runtime.emitter import Emitter
from fxquant.runtime.value import Value, like

Shape = tuple[int, ...]

# What is a view of its input, or a copy in row-major order.
_VIEWS = (
    *(ops.flatten, ops.unflatten, ops.reshape, ops.permute, ops.squeeze, ops.unsqueeze, ops.expand),
    *(ops.getitem, ops.chunk, ops.split, ops.unbind, ops.unfold, ops.corner),
)


@dataclass(frozen=True)
class Piece:
    """Along one dimension: y[to + i] = x[start + i * step] for i < length."""

    to: int
    length: int
    start: int
    step: int = 1


Pieces = list[list[Piece]]  # for each dimension those that make it up, in the order of y


def can_move(node: Node, row: Op) -> bool:
    """Whether a program can compute the node, which calls the op of `row`, if it knows every size that it reads."""
    if row.call is ops.getitem and isinstance(node.args[1], tuple):
        return all(i is None or i is Ellipsis or isinstance(i, (int, slice)) or _is_size(i) for i in node.args[1])
    if row.call is ops.pad:
        arguments = row.bind(node)
        amounts = arguments["pad"]
        return arguments["mode"] != "constant" and all(isinstance(amount, int) and amount >= 0 for amount in amounts)
    return row.call in (ops.cat, ops.pixel_shuffle, ops.pixel_unshuffle, *CHOOSES, *_PIECES, *_VIEWS)


def _is_size(value: Any) -> bool:
    return isinstance(value, Node) and not surgery.is_tensor(value)


def crosses_examples(node: Node, row: Op, *inputs: Any) -> bool:
    """Whether the node moves something between indices of dimension 0, of as many; `inputs` without memory."""
    if row.call in CHOOSES:
        return chooses_across(node, row, *inputs)
    return row.call in (ops.flip, ops.roll) and 0 in row.bind(node)["dims"]


def result(row: Op, x: Any, *rest: Any) -> Any:
    """What the op of `row` gives, as meta tensors. Raises ValueError if the input does not fit.

    torch's own functions for meta tensors import a second's worth of Python for what is no view.
    """
    if row.call is ops.cat:
        dim = rest[0]
        return like(x, [*x[0].shape[:dim], sum(each.shape[dim] for each in x), *x[0].shape[dim + 1 :]])
    if row.call is ops.pixel_shuffle:
        (*lead, channels, height, width), (r,) = x.shape, rest
        return like([x], [*lead, _part(channels, r * r), height * r, width * r])
    if row.call is ops.pixel_unshuffle:
        (*lead, channels, height, width), (r,) = x.shape, rest
        return like([x], [*lead, channels * r * r, _part(height, r), _part(width, r)])
    if row.call in CHOOSES:
        return chosen(row, x, *rest)
    if row.call in _PIECES:
        pieces = _PIECES[row.call](tuple(x.shape), *rest)
        return like([x], [sum(piece.length for piece in along) for along in pieces])
    return row.body(x, *rest)


def moved(emitter: Emitter, row: Op, meta: Any, value: Any, *rest: Any) -> Any:
    """The value, or the several ones, that the op of `row` makes of `value`, as `meta`; all ops but `cat`."""
    if isinstance(value, list):
        return value[rest[0]]
    if row.call in _VIEWS:
        return _viewed(emitter, value, lambda x: row.body(x, *rest))
    y = emitter.new(meta)
    if row.call in CHOOSES:
        choose(emitter, row, y, value, *rest)
    elif row.call is ops.pixel_shuffle:
        emitter.copy(_pixels(y, *rest), _channels(value, *rest))
    elif row.call is ops.pixel_unshuffle:
        emitter.copy(_channels(y, *rest), _pixels(value, *rest))
    else:
        for pair in _pairs(y, value, _PIECES[row.call](value.shape, *rest)):
            emitter.copy(*pair)
    return y


def _viewed(emitter: Emitter, value: Value, view: Callable[[Tensor], Any]) -> Any:
    seen = value.viewed(view)
    return emitter.copied(value, torch.contiguous_format).viewed(view) if seen is None else seen


def _part(size: int, of: int) -> int:
    if size % of:
        raise ValueError(f"{size} is not a multiple of {of}")
    return size // of


def _channels(x: Value, r: int) -> Any:
    """[..., C * r * r, H, W] as [..., C, r, r, H, W]."""
    return x.viewed(lambda t: t.unflatten(-3, (-1, r, r)))


def _pixels(x: Value, r: int) -> Any:
    """[..., C, H * r, W * r] as [..., C, r, r, H, W]."""
    return x.viewed(lambda t: t.unflatten(-1, (-1, r)).unflatten(-3, (-1, r)).movedim((-3, -1), (-4, -3)))


def _pairs(y: Value, x: Value, pieces: Pieces) -> Iterator[tuple[Value, Value]]:
    """Every combination of one piece a dimension: where it goes and where it comes from."""
    for combination in product(*pieces):
        to, source = y, x
        for dim, piece in enumerate(combination):
            to = to.narrow(dim, piece.to, piece.length)
            source = source.narrow(dim, piece.start, piece.length, piece.step)
        if to.size > 0:
            yield to, source


def _whole(shape: Shape) -> Pieces:
    return [[Piece(0, size, 0)] for size in shape]


def _flipped(shape: Shape, dims: Shape) -> Pieces:
    return [[Piece(0, size, size - 1, -1)] if dim in dims else [Piece(0, size, 0)] for dim, size in enumerate(shape)]


def _rolled(shape: Shape, shifts: Shape, dims: Shape) -> Pieces:
    pieces = _whole(shape)
    for dim in set(dims):
        size = shape[dim]
        shift = sum(s for s, d in zip(shifts, dims, strict=True) if d == dim) % max(size, 1)
        pieces[dim] = [Piece(0, shift, size - shift), Piece(shift, size - shift, 0)]
    return pieces


def _padded(shape: Shape, amounts: Shape, mode: str, value: float) -> Pieces:
    """Of the modes that add what is there already: a constant is added by a layer."""
    pieces = _whole(shape)
    for i, (before, after) in enumerate(zip(amounts[::2], amounts[1::2], strict=True)):
        dim = len(shape) - 1 - i
        borders = _borders(mode, shape[dim], before, after)
        if not all(_lies_in(shape[dim], border) for border in borders):
            raise ValueError(f"{shape[dim]} elements are too few for a border of {max(before, after)} in mode {mode}")
        pieces[dim] = [borders[0], Piece(before, shape[dim], 0), borders[1]]
    return pieces


def _borders(mode: str, size: int, before: int, after: int) -> tuple[Piece, Piece]:
    if mode == "reflect":
        return Piece(0, before, before, -1), Piece(before + size, after, size - 2, -1)
    if mode == "replicate":
        return Piece(0, before, 0, 0), Piece(before + size, after, size - 1, 0)
    return Piece(0, before, size - before), Piece(before + size, after, 0)


def _lies_in(size: int, piece: Piece) -> bool:
    last = piece.start + (piece.length - 1) * piece.step
    return piece.length == 0 or (0 <= piece.start < size and 0 <= last < size)


_PIECES: dict[Callable[..., Any], Callable[..., Pieces]] = {
    ops.flip: _flipped,
    ops.roll: _rolled,
    ops.pad: _padded,
}
