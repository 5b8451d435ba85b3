"""Data movement in a program: a view of its input where torch would make one, else a copy."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node

from fxquant import ops
from fxquant.ops.op import Op
from fxquant.runtime.emitter import Emitter
from fxquant.runtime.value import Value

# What is a view of its input, or a copy in row-major order.
VIEWS = (ops.flatten, ops.reshape, ops.permute, ops.squeeze, ops.unsqueeze, ops.getitem, ops.chunk, ops.split)


def can_move(node: Node, row: Op) -> bool:
    """Whether a program can compute the node, which calls the op of `row`, if it knows every size that it reads."""
    if row.call is ops.getitem and isinstance(node.args[1], tuple):
        return all(i is None or i is Ellipsis or isinstance(i, (int, slice, Node)) for i in node.args[1])
    return row.call is ops.cat or row.call in VIEWS


def moved(emitter: Emitter, row: Op, value: Any, *rest: Any) -> Any:
    """The value, or the several ones, that the op of `row` makes of `value`; all ops but `cat`."""
    if isinstance(value, list):
        return value[rest[0]]
    view = value.viewed(lambda x: row.body(x, *rest))
    if view is not None:
        return view
    dense: Value = emitter.copied(value, torch.contiguous_format)
    return dense.viewed(lambda x: row.body(x, *rest))
