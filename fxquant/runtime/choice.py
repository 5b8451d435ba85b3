"""Data movement that tensors steer: a mask chooses between two sides, an index between positions along a dimension."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from fxquant import ops
from fxquant.ops.op import Op
from fxquant.runtime.emitter import Emitter
from fxquant.runtime.value import Value, like

_BY_MASK = (ops.masked_fill, ops.where)
_BY_INDEX = (ops.gather, ops.index_select)
CHOOSES = (*_BY_MASK, *_BY_INDEX)


def chooses_across(node: Node, row: Op, *inputs: Any) -> bool:
    """Whether an op of CHOOSES may give an example what is another one's; `inputs` without memory.

    A mask of fewer dimensions than the rest counts as such, and so does an index that is the same for all examples: the
    first dimension of either is none of examples.
    """
    if row.call in _BY_MASK:
        return len({x.dim() for x in inputs if isinstance(x, Tensor)}) > 1
    arguments = row.bind(node)
    is_for_all = row.call is ops.index_select and arguments["index"].op != "get_attr"
    return arguments["dim"] == 0 or is_for_all


def chosen(row: Op, *inputs: Any) -> Tensor:
    """What an op of CHOOSES gives, as a meta tensor. Raises ValueError if the inputs do not fit."""
    return _masked(row, *inputs) if row.call in _BY_MASK else _indexed(row, *inputs)


def choose(emitter: Emitter, row: Op, y: Value, *inputs: Any) -> None:
    """Writes to `y` what an op of CHOOSES gives."""
    if row.call is ops.where:
        _select(emitter, y, *inputs)
    elif row.call is ops.masked_fill:
        x, mask, number = inputs
        _select(emitter, y, mask, emitter.number(number, y.dtype), x)
    else:
        _gather(emitter, y, *inputs)


def _masked(row: Op, *inputs: Any) -> Tensor:
    """What an op of _BY_MASK gives, as a meta tensor."""
    mask, sides = (inputs[0], inputs[1:]) if row.call is ops.where else (inputs[1], inputs[:1])
    shape = torch.broadcast_shapes(mask.shape, *(side.shape for side in sides))
    if mask.dtype.itemsize != 1 or any(side.dtype is not sides[0].dtype for side in sides):
        raise ValueError(f"{row.name} takes a bool mask and tensors of one dtype")
    if row.call is ops.masked_fill and shape != sides[0].shape:
        raise ValueError(f"a mask of shape {list(mask.shape)} is larger than {list(sides[0].shape)}")
    return like(sides, shape)


def _select(emitter: Emitter, y: Value, mask: Value, a: Value, b: Value) -> None:
    """Writes a where `mask`, else b; all broadcast to the shape of `y`."""
    mask, a, b = (x.viewed(lambda t: t.expand(y.shape)) for x in (mask, a, b))
    y, a, b = y.as_bytes(), a.as_bytes(), b.as_bytes()
    if len(mask.shape) < len(y.shape):
        mask = mask.viewed(lambda t: t.unsqueeze(-1).expand(y.shape))
    emitter.call("select", (y, mask, a, b))


def _indexed(row: Op, x: Tensor, dim: int, index: Tensor) -> Tensor:
    """What an op of _BY_INDEX gives, as a meta tensor."""
    if index.dtype not in (torch.int64, torch.int32):
        raise ValueError(f"{row.name} takes an index in int64, not {index.dtype}")
    if row.call is ops.index_select:
        if index.dim() > 1:
            raise ValueError(f"index_select takes an index of one dimension, not of the shape {list(index.shape)}")
        return like([x], [*x.shape[:dim], index.numel(), *x.shape[dim + 1 :]])
    others = [d for d in range(x.dim()) if d != dim]
    if index.dim() != x.dim() or any(index.shape[d] > x.shape[d] for d in others):
        raise ValueError(f"gather cannot take {list(index.shape)} of {list(x.shape)} along dimension {dim}")
    return like([x], index.shape)


def _gather(emitter: Emitter, y: Value, x: Value, dim: int, index: Value) -> None:
    """Writes those positions of `x` along `dim` that `index` tells: [number], or one for each element of `y`."""
    if index.shape != y.shape:
        after = len(y.shape) - 1 - dim
        index = index.viewed(lambda t: t.reshape(-1, *[1] * after).expand(y.shape))
    step, size = x.strides[dim] * x.dtype.itemsize, x.shape[dim]
    for d, length in enumerate(y.shape):
        x = x.narrow(d, 0, length, 0 if d == dim else 1)
    index_bytes = index.dtype.itemsize
    y, x = y.as_bytes(), x.as_bytes()
    if len(index.shape) < len(y.shape):
        index = index.viewed(lambda t: t.unsqueeze(-1).expand(y.shape))
    emitter.call("gather", (y, index, x), step, size, index_bytes)
