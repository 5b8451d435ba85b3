"""What follows from the shapes of values alone, whatever numbers they hold: sizes, and tensors such as arange(size)."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch.fx import GraphModule, Node

from fxquant.graph import surgery
from fxquant.graph.shapes import asks_shape
from fxquant.ops.op import op_of

_MAKERS: tuple[Any, ...] = (torch.arange, torch.ones, torch.zeros, torch.full, "new_ones", "new_zeros", "new_full")
_OPERATORS: tuple[Any, ...] = (
    *(operator.add, operator.sub, operator.mul, operator.floordiv, operator.neg, operator.invert),
    *(operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge),
    *(operator.and_, operator.or_, operator.xor),
)


def sizes(gm: GraphModule) -> set[Node]:
    """The nodes that compute with shapes, and give no tensor."""
    found: set[Node] = set()
    for node in gm.graph.nodes:
        computes = node.op == "call_function" and node.all_input_nodes and found.issuperset(node.all_input_nodes)
        if (node.op.startswith("call_") and asks_shape(node)) or (computes and not surgery.is_tensor(node)):
            found.add(node)
    return found


def tensors_of_sizes(gm: GraphModule) -> set[Node]:
    """The nodes that compute tensors of sizes, and of nothing else."""
    known, found = sizes(gm), set[Node]()
    for node in gm.graph.nodes:
        if surgery.is_tensor(node) and (known | found).issuperset(node.all_input_nodes) and _is_pure(node):
            found.add(node)
    return found


def _is_pure(node: Node) -> bool:
    """Whether the node calls what gives the same again, in memory of its own or of what it reads."""
    if node.target in _MAKERS:
        device: Any = node.kwargs.get("device") or "cpu"
        return torch.device(device).type == "cpu" and "out" not in node.kwargs
    row = op_of(node)
    return node.target in _OPERATORS or (row is not None and (row.moves or row.pointwise))
