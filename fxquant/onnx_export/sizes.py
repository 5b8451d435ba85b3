"""Sizes in ONNX: all are those of the example but such as follow the batch, which stay free.

A size follows the batch if one example more changes it, as zeros of another batch show. What is computed of sizes
alone, such as the positions of tokens, is a constant; where it has rows for each example it is a range, or made of the
rows of one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from fxquant.errors import UnsupportedError
from fxquant.graph.interface import inputs_of
from fxquant.graph.shapes import asks_shape
from fxquant.onnx_export.builder import Builder

_MAKERS = ("new_ones", "new_zeros", "new_full", "new_empty")
_LIKE = (torch.ones_like, torch.zeros_like, torch.full_like, torch.empty_like)


def of_sizes(gm: GraphModule) -> set[Node]:
    """The nodes in whose values no input is, but for its sizes."""
    found: set[Node] = set()
    for node in gm.graph.nodes:
        fills = asks_shape(node) or node.target in (*_MAKERS, *_LIKE)
        read = set(node.all_input_nodes) - set(node.args[:1] if fills else ())
        if node.op not in ("placeholder", "output") and found.issuperset(read):
            found.add(node)
    return found


def free_dims(b: Builder, node: Node) -> list[int]:
    """The dimensions of a tensor that follow the batch."""
    other = b.others.get(node)
    return (
        [] if other is None else [d for d, (m, n) in enumerate(zip(b.shape(node), other.shape, strict=True)) if m != n]
    )


def shape_of(b: Builder, node: Node) -> str:
    """The name of the shape of `node`, int64, at run time."""
    free, shape = free_dims(b, node), b.shape(node)
    if not free:
        return b.integers(shape)
    parts = [_of_batch(b, node, d) if d in free else b.integers([size]) for d, size in enumerate(shape)]
    return parts[0] if len(parts) == 1 else str(b.add("Concat", *parts, axis=0))


def _batches(b: Builder) -> tuple[int, int]:
    """The batch of the example, and the other one."""
    data = _data(b)
    return len(b.examples[data]), len(b.others[data])


def _data(b: Builder) -> Node:
    """The input whose first dimension is the batch."""
    return next(node for node in inputs_of(b.gm) if isinstance(b.examples[node], Tensor))


def _batch(b: Builder, times: int = 1) -> str:
    """The batch at run time, or a multiple of it, int64 [1]."""
    number = str(b.add("Shape", b.name(_data(b)), start=0, end=1))
    return number if times == 1 else str(b.add("Mul", number, b.integers([times])))


def _of_batch(b: Builder, node: Node, dim: int) -> str:
    """The size of a dimension that follows the batch, int64 [1]."""
    (batch, larger), size = _batches(b), b.shape(node)[dim]
    if size * larger != b.others[node].shape[dim] * batch or size % batch:
        raise UnsupportedError(f"dimension {dim} of it is no multiple of the batch")
    return _batch(b, size // batch)


def reshaped(b: Builder, x: str, before: Node, after: Node) -> str:
    """`x`, whose shape is that of `before`, in the shape of `after`."""
    free, sizes = free_dims(b, after), list(b.shape(after))
    if len(free) > 1:
        return str(b.add("Reshape", x, shape_of(b, after)))
    if free:
        sizes[free[0]] = -1
    elif not b.others and sizes:
        sizes[0] = 0 if b.shape(before)[:1] == (sizes[0],) else -1
    return str(b.add("Reshape", x, b.integers(sizes)))


def written_of_sizes(b: Builder, node: Node) -> str:
    """The value of a node that no data is in. Raises UnsupportedError if what it holds follows the batch otherwise."""
    value, other, free = b.examples[node], b.others.get(node), free_dims(b, node)
    if other is None or (not free and torch.equal(value, other)):
        return b.constant(value)
    rows = [_one_row(each, free) for each in (value, other)]
    if torch.equal(*rows):
        return str(b.add("Expand", b.constant(rows[0]), shape_of(b, node)))
    examples = [each[: len(each) // batch] for each, batch in zip((value, other), _batches(b), strict=True)]
    if free == [0] and torch.equal(*examples) and _is_repeated(value, examples[0]) and _is_repeated(other, examples[0]):
        repeats = b.add("Concat", _batch(b), b.integers([1] * (value.dim() - 1)), axis=0)
        return str(b.add("Tile", b.constant(examples[0]), repeats))
    if len(free) == 1 and all(_counts(each, free[0]) for each in (value, other)):
        return _count(b, node, free[0])
    raise UnsupportedError("what it holds follows the size of the batch")


def _one_row(x: Tensor, dims: list[int]) -> Tensor:
    """`x` with size 1 in `dims`, if it is the same all along them."""
    row = x
    for dim in dims:
        row = row.narrow(dim, 0, 1)
    return row if torch.equal(row.expand_as(x), x) else x


def _is_repeated(x: Tensor, part: Tensor) -> bool:
    """Whether `x` holds `part` over and over, along its first dimension."""
    return len(part) > 0 and torch.equal(x, part.repeat(len(x) // len(part), *[1] * (x.dim() - 1)))


def _counts(x: Tensor, dim: int) -> bool:
    """Whether `x` counts from 0 on along `dim`."""
    return torch.equal(x, _along(torch.arange(x.shape[dim], dtype=x.dtype), x.dim(), dim).expand_as(x))


def _along(x: Tensor, rank: int, dim: int) -> Tensor:
    return x.reshape([-1 if d == dim else 1 for d in range(rank)])


def _count(b: Builder, node: Node, dim: int) -> str:
    rank, number = len(b.shape(node)), b.add("Squeeze", _of_batch(b, node, dim), b.integers([0]))
    counted: Any = b.add("Range", b.constant(np.int64(0)), number, b.constant(np.int64(1)))
    counted = b.add("Reshape", counted, b.integers([-1 if d == dim else 1 for d in range(rank)]))
    return b.cast(b.add("Expand", counted, shape_of(b, node)), torch.int64, b.examples[node].dtype)
