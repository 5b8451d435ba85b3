"""linear(x, w).size(-1) // 8   ->   w.shape[0] // 8 as a number

Where the model's own weights decide a size, it is the same for all inputs, and so is what is computed of it, such as
the number of features of a head and its square root. With numbers for them, the ops around are in the table.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import torch
from torch.fx import GraphModule, Node

from fxquant.graph import surgery
from fxquant.graph.pipeline import register_pass
from fxquant.ops.op import op_of

from .normalize_spellings import normalize_spellings

_ARITHMETIC: tuple[Any, ...] = (
    *(operator.add, operator.sub, operator.mul, operator.floordiv, operator.truediv, operator.mod, operator.pow),
    *(operator.neg, math.sqrt, int, float, round),
)
_OF_WEIGHTS = ("linear", "embedding", "layer_norm", "rms_norm")
_SAME_SHAPE = ("layer_norm", "rms_norm", "softmax")


@register_pass(stage="normalize")
def normalize_sizes(gm: GraphModule) -> GraphModule:
    replaced = False
    for node in list(gm.graph.nodes):
        number = _number(node)
        if number is None:
            continue
        replaced = True
        for user in list(node.users):
            user.meta.pop("reason", None)
            surgery.put(user, node, number)
    return normalize_spellings(gm) if replaced else gm


def _number(node: Node) -> int | float | None:
    """What the node computes of sizes that never change, whatever the input; None if it does anything else."""
    asked = _asked(node)
    if asked is not None:
        return fixed_size(*asked)
    if node.op != "call_function" or node.target not in _ARITHMETIC or node.kwargs:
        return None
    if not all(isinstance(argument, (int, float)) for argument in node.args):
        return None
    target: Any = node.target
    result: int | float = target(*node.args)
    return result


def _asked(node: Node) -> tuple[Node, int] | None:
    """The tensor and the dimension whose size the node is, if it is one."""
    if node.target == "size":
        return _dimension(node.args[0], *(node.args[1:] or node.kwargs.values()))
    if node.target is not operator.getitem or not isinstance(node.args[0], Node):
        return None
    sizes = node.args[0]
    if sizes.target is operator.getitem and isinstance(sizes.args[1], slice):
        return _sliced(sizes, node.args[1])
    if _is_shape(sizes):
        return _dimension(sizes.args[0], node.args[1])
    return None


def _sliced(sizes: Node, index: Any) -> tuple[Node, int] | None:
    """As `_asked`, of x.shape[a:b][index]."""
    whole, part = sizes.args  # type: Any, Any
    x = whole.args[0] if isinstance(whole, Node) and whole.args else None
    shape = x.meta.get("shape") if isinstance(x, Node) else None
    if not isinstance(shape, torch.Size) or not isinstance(index, int):
        return None
    bounds = (part.start, part.stop, part.step)
    if not _is_shape(whole) or not all(bound is None or isinstance(bound, int) for bound in bounds):
        return None
    dims = range(len(shape))[part]
    return _dimension(x, dims[index]) if -len(dims) <= index < len(dims) else None


def _is_shape(sizes: Node) -> bool:
    """Whether the node is x.size() or x.shape."""
    if sizes.target == "size":
        return len(sizes.args) == 1 and not sizes.kwargs
    return sizes.target is getattr and sizes.args[1] == "shape"


def _dimension(x: Any, *dims: Any) -> tuple[Node, int] | None:
    shape = x.meta.get("shape")
    if len(dims) != 1 or not isinstance(dims[0], int) or not isinstance(shape, torch.Size):
        return None
    return (x, dims[0] % len(shape)) if -len(shape) <= dims[0] < len(shape) else None


def fixed_size(x: Node, dim: int) -> int | None:
    """The size of dimension `dim` of `x`, if weights or constant arguments decide it."""
    row, shape = op_of(x), x.meta.get("shape")
    if row is None or not isinstance(shape, torch.Size):
        return None
    if (row.name in _OF_WEIGHTS and dim == len(shape) - 1) or (row.name.startswith("conv") and dim == 1):
        return shape[dim]
    arguments = row.bind(x)
    if row.name == "reshape":
        return _reshaped(arguments["x"], arguments["shape"], dim)
    source = _source(x, row.name, arguments, dim)
    return None if source is None else fixed_size(*source)


def _reshaped(x: Node, sizes: Any, dim: int) -> int | None:
    """Of the size -1, what is left of the sizes of `x` that are fixed if its other ones are taken over as they are."""
    if not isinstance(sizes, tuple) or (isinstance(sizes[dim], int) and sizes[dim] > 0):
        return sizes[dim] if isinstance(sizes, tuple) else None
    if sizes[dim] != -1:
        return None
    asked = [_asked(size) for size in sizes if isinstance(size, Node)]
    taken = {each[1] for each in asked if each is not None and each[0] is x}
    if len(taken) < len(asked):
        return None
    rest = [fixed_size(x, d) for d in range(len(x.meta["shape"])) if d not in taken]
    numbers = math.prod(size for size in sizes if isinstance(size, int) and size != -1)
    if None in rest or numbers == 0:
        return None
    return math.prod(size for size in rest if size is not None) // numbers


def _source(x: Node, name: str, arguments: dict[str, Any], dim: int) -> tuple[Node, int] | None:
    """Which dimension of an input is the same as dimension `dim` of what an op makes of it."""
    row = op_of(x)
    if name == "permute":
        return arguments["x"], arguments["dims"][dim]
    if name == "linear":
        return arguments["x"], dim
    if name in _SAME_SHAPE or (row is not None and row.pointwise):
        same = [n for n in x.all_input_nodes if n.meta.get("shape") == x.meta["shape"]]
        return (same[0], dim) if same else None
    if name == "getitem":
        return _item(arguments["x"], arguments["index"], dim)
    return None


def _item(x: Node, index: Any, dim: int) -> tuple[Node, int] | None:
    if isinstance(index, tuple):
        return (x, dim + len(index)) if all(isinstance(i, int) for i in index) else None
    row = op_of(x)
    if row is None or row.name != "unbind":
        return None
    arguments = row.bind(x)
    return arguments["x"], dim + (dim >= arguments["dim"])
