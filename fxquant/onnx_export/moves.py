"""Data movement in ONNX, the same for real numbers and integers. Sizes but the batch become those of the example."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node

from fxquant import ops
from fxquant.errors import UnsupportedError
from fxquant.onnx_export.builder import Builder, Export, registering
from fxquant.onnx_export.sizes import reshaped, shape_of

MOVE_EXPORTS: dict[Callable[..., Any], Export] = {}
_exports = registering(MOVE_EXPORTS)


@_exports(ops.flatten, ops.reshape, ops.unflatten)
def _reshape(b: Builder, x: Any, *_: Any) -> Any:
    return reshaped(b, b.name(x), x, b.node)


def _shaped(b: Builder, x: str, before: Any, after: Any) -> Any:
    """`x` in the shape `after`, where the first dimension, if it stays or takes part, follows the batch."""
    if not after:
        return b.add("Reshape", x, b.integers([]))
    first = 0 if before and before[0] == after[0] else -1
    return b.add("Reshape", x, b.integers([first, *after[1:]]))


@_exports(ops.permute)
def _permute(b: Builder, x: Any, dims: Any) -> Any:
    rank = len(b.shape(x))
    return b.add("Transpose", b.name(x), perm=[dim % rank for dim in dims])


@_exports(ops.squeeze)
def _squeeze(b: Builder, x: Any, dim: Any) -> Any:
    shape = b.shape(x)
    dims = range(len(shape)) if dim is None else [d % len(shape) for d in dim]
    return b.add("Squeeze", b.name(x), b.integers([d for d in dims if shape[d] == 1]))


@_exports(ops.unsqueeze)
def _unsqueeze(b: Builder, x: Any, dim: int) -> Any:
    return b.add("Unsqueeze", b.name(x), b.integers([dim]))


@_exports(ops.cat)
def _cat(b: Builder, tensors: Any, dim: int) -> Any:
    return b.add("Concat", *map(b.name, tensors), axis=dim)


@_exports(ops.chunk, ops.split)
def _split(b: Builder, x: Any, _: Any, dim: int) -> Any:
    sizes = [piece.shape[dim] for piece in b.examples[b.node]]
    pieces = b.add("Split", b.name(x), b.integers(sizes), outputs=len(sizes), axis=dim)
    return [pieces] if isinstance(pieces, str) else pieces


@_exports(ops.unbind)
def _unbind(b: Builder, x: Any, dim: int) -> Any:
    return [b.add("Gather", b.name(x), b.constant(np.int64(i)), axis=dim) for i in range(b.shape(x)[dim])]


@_exports(ops.expand)
def _expand(b: Builder, x: Any, _: Any) -> Any:
    return b.add("Expand", b.name(x), shape_of(b, b.node))


@_exports(ops.flip)
def _flip(b: Builder, x: Any, dims: Any) -> Any:
    y = b.name(x)
    for dim in dims:
        y = b.add("Slice", y, *(b.integers([bound]) for bound in (-1, -(1 << 62), dim, -1)))
    return y


@_exports(ops.roll)
def _roll(b: Builder, x: Any, shifts: Any, dims: Any) -> Any:
    y = b.name(x)
    for shift, dim in zip(shifts, dims, strict=True):
        size = b.shape(x)[dim]
        if shift % size:
            first, second = b.add("Split", y, b.integers([size - shift % size, shift % size]), outputs=2, axis=dim)
            y = b.add("Concat", second, first, axis=dim)
    return y


@_exports(ops.pixel_shuffle)
def _pixel_shuffle(b: Builder, x: Any, r: int) -> Any:
    n, c, h, w = b.shape(x)
    apart = _shaped(b, b.name(x), (n,), (n, c // r**2, r, r, h, w))
    return _shaped(b, b.add("Transpose", apart, perm=[0, 1, 4, 2, 5, 3]), (n,), (n, c // r**2, h * r, w * r))


@_exports(ops.pixel_unshuffle)
def _pixel_unshuffle(b: Builder, x: Any, r: int) -> Any:
    n, c, h, w = b.shape(x)
    apart = _shaped(b, b.name(x), (n,), (n, c, h // r, r, w // r, r))
    return _shaped(b, b.add("Transpose", apart, perm=[0, 1, 3, 5, 2, 4]), (n,), (n, c * r**2, h // r, w // r))


@_exports(ops.getitem)
def _getitem(b: Builder, x: Any, index: Any) -> Any:
    if not isinstance(b.names[x], str):
        return b.names[x][index]
    entries = _entries(b, x, index if isinstance(index, tuple) else (index,))
    if any(isinstance(entry, Node) for entry in entries):
        return _by_tensors(b, b.name(x), entries)
    return picked(b, b.name(x), entries)


def picked(b: Builder, y: str, entries: Sequence[Any]) -> str:
    """`y` at one entry for each dimension, an integer or a slice, and None for each new one."""
    axis = 0
    for entry in entries:
        if entry is None:
            y = b.add("Unsqueeze", y, b.integers([axis]))
        elif isinstance(entry, int):
            y = b.add("Gather", y, b.constant(np.int64(entry)), axis=axis)
            continue
        elif entry != slice(None):
            y = _sliced(b, y, entry, axis)
        axis += 1
    return y


def _entries(b: Builder, x: Node, index: tuple[Any, ...]) -> list[Any]:
    """One entry for each dimension of `x`, and None for each new one; tensors are nodes."""
    entries = [each if _is_tensor(b, each) else b.known(each) for each in index]
    if not all(each is None or each is Ellipsis or isinstance(each, (int, slice, Node)) for each in entries):
        raise UnsupportedError("it picks elements by lists or by masks")
    given = sum(entry is not None and entry is not Ellipsis for entry in entries)
    rest = [slice(None)] * (len(b.shape(x)) - given)
    at = next((i for i, entry in enumerate(entries) if entry is Ellipsis), len(entries))
    return [*entries[:at], *rest, *entries[at + 1 :]]


def _is_tensor(b: Builder, value: Any) -> bool:
    return isinstance(value, Node) and isinstance(b.examples[value], Tensor)


def _by_tensors(b: Builder, x: str, entries: list[Any]) -> Any:
    """`x` at tensors of indices, one of them, or several from the first dimension on."""
    indices = [entry for entry in entries if isinstance(entry, Node)]
    plain = [entry for entry in entries if not isinstance(entry, Node)]
    if any(entry != slice(None) for entry in plain) or any(b.examples[i].dtype is torch.bool for i in indices):
        raise UnsupportedError("it picks elements by tensors beside other indices, or by masks")
    if len(indices) == 1:
        return b.add("Gather", x, b.name(indices[0]), axis=entries.index(indices[0]))
    if entries[: len(indices)] != indices:
        raise UnsupportedError("it picks elements by tensors for others than the first dimensions")
    zeros = [b.add("Mul", b.operand(each, torch.int64), b.constant(np.int64(0))) for each in indices]
    shape = zeros[0]
    for each in zeros[1:]:
        shape = b.add("Add", shape, each)
    columns = [b.add("Add", b.operand(each, torch.int64), shape) for each in indices]
    last = b.integers([-1])
    return b.add("GatherND", x, b.add("Concat", *(b.add("Unsqueeze", each, last) for each in columns), axis=-1))


def _sliced(b: Builder, x: str, entry: slice, axis: int) -> Any:
    start, stop, step = entry.start or 0, entry.stop, entry.step or 1
    bounds = (start, (1 << 62) if stop is None else stop, axis, step)
    return b.add("Slice", x, *(b.integers([bound]) for bound in bounds))


@_exports(ops.gather)
def _gather(b: Builder, x: Any, dim: int, index: Any) -> Any:
    return b.add("GatherElements", b.name(x), b.name(index), axis=dim)


@_exports(ops.index_select)
def _index_select(b: Builder, x: Any, dim: int, index: Any) -> Any:
    return b.add("Gather", b.name(x), b.name(index), axis=dim)


@_exports(ops.unfold)
def _unfold(b: Builder, x: Any, dim: int, size: int, step: int) -> Any:
    starts = np.arange(0, b.shape(x)[dim] - size + 1, step, dtype=np.int64)
    windows = b.add("Gather", b.name(x), b.constant(starts[:, None] + np.arange(size)), axis=dim)
    order = list(range(len(b.shape(x)) + 1))
    return b.add("Transpose", windows, perm=[*order[: dim + 1], *order[dim + 2 :], dim + 1])
