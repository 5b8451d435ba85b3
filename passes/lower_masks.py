"""x.to(torch.bool)                          -> mask_nonzero(x)
a & b                                     -> mask_and(a, b)
x[arange(n)[:, None], arange(m)[None, :]] -> corner(x, (n, m), (slice(None), slice(None)))

of the masks of attention that computes next to dynamic layers, so that one native program has these, too.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from fxquant import ops
from fxquant.graph import surgery
from fxquant.graph.annotation import activations
from fxquant.graph.pipeline import register_pass
from fxquant.ops.integer.masks import MASKABLE
from fxquant.ops.op import op_of

_ATTENDS = (ops.float_attention, ops.dynamic_attention)
_ALL = slice(None)


@register_pass(stage="lower")
def lower_masks(gm: GraphModule) -> GraphModule:
    for node in _makers_of_masks(gm):
        lowered = _lowered(node)
        if lowered is not None:
            surgery.replace(node, surgery.emit(node, *lowered, sources=[node]))
    return surgery.clean(gm)


def _makers_of_masks(gm: GraphModule) -> list[Node]:
    """What the masks of attention are made of, back to what is none of these calls."""
    edge = [op_of(node).bind(node)["mask"] for node in gm.graph.nodes if node.target in _ATTENDS]  # type: ignore[union-attr]
    found: set[Node] = set()
    while edge:
        node = edge.pop()
        if not isinstance(node, Node) or node in found or node.meta.get("dtype") is not torch.bool:
            continue
        found.add(node)
        row = op_of(node)
        edge += activations(node) if row is not None and row.moves else []
        edge += node.args if node.target is operator.and_ else ()
    return [node for node in gm.graph.nodes if node in found]


def _lowered(node: Node) -> tuple[Any, ...] | None:
    """The op that `node` becomes, with its arguments; None if it stays as it is."""
    if node.target == "to" and _is_to_bool(node):
        return ops.mask_nonzero, node.args[0]
    if node.target is operator.and_ and all(_dtype(argument) is torch.bool for argument in node.args):
        return ops.mask_and, *node.args
    return _corner(node) if node.target is ops.getitem else None


def _dtype(value: Any) -> Any:
    return value.meta.get("dtype") if isinstance(value, Node) else None


def _is_to_bool(node: Node) -> bool:
    options = [*node.args[1:], *node.kwargs.values()]
    plain = all(option is torch.bool or _is_cpu(option) for option in options)
    return plain and _dtype(node.args[0]) in MASKABLE and set(node.kwargs) <= {"dtype", "device"}


def _is_cpu(option: Any) -> bool:
    return isinstance(option, (str, torch.device)) and torch.device(option).type == "cpu"


def _corner(node: Node) -> tuple[Any, ...] | None:
    """Of x[i, j, …] where each index counts from 0 on, along a dimension of its own, in their order."""
    x, index = node.args  # type: Any, Any
    if not isinstance(index, tuple) or not all(isinstance(each, Node) for each in index):
        return None
    counts = [_count(each) for each in index]
    ranks = [len(each.meta["shape"]) for each in index if isinstance(each.meta.get("shape"), torch.Size)]
    if None in counts or len({*ranks}) != 1 or len(ranks) < len(index):
        return None
    dims = [count[1] for count in counts if count is not None]
    if dims != sorted({*dims}):
        return None
    places = tuple(_ALL if dim in dims else None for dim in range(ranks[0]))
    return ops.corner, x, tuple(count[0] for count in counts if count is not None), places


def _count(node: Any) -> tuple[Any, int] | None:
    """n and d for an index arange(n) whose elements lie along dimension d, all other dimensions being of size 1."""
    dim = 0
    if node.target is ops.getitem:
        node, places = node.args
        if not isinstance(places, tuple) or [each for each in places if each is not None] != [_ALL]:
            return None
        dim = places.index(_ALL)
    while node.target in (ops.add, operator.add) and node.args[1:] == (0,):
        node = node.args[0]
    counts = node.target is torch.arange and len(node.args) == 1 and not isinstance(node.args[0], (float, Tensor))
    plain = set(node.kwargs) <= {"device"} and _is_cpu(node.kwargs.get("device", "cpu"))
    return (node.args[0], dim) if counts and plain else None
