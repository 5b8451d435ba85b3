"""Values that depend on parameters and buffers alone, computed while the graph is rewritten."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.node import map_aggregate

from fxquant.graph import surgery
from fxquant.ops.op import op_name, op_of

# Beside movement of data: ops that give the same numbers for the same numbers, and change nothing.
_PURE = {"add", "sub", "mul", "div", "sqrt", "rsqrt", "reciprocal", "square", "exp", "log", "neg", "abs", "pow"}


class _NotConstant(Exception):
    """A value depends on more than parameters and buffers."""


def constant_value(gm: GraphModule, value: Any) -> Tensor | None:
    """The tensor that `value` stands for: a number, or a node of parameters and buffers that nothing writes to.

    None if it is neither.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Tensor([value])
    try:
        found = _computed(gm, value)
    except _NotConstant:
        return None
    return found if isinstance(found, Tensor) else None


def _computed(gm: GraphModule, value: Any) -> Any:
    if not isinstance(value, Node):
        return value
    if any(op_name(gm, user).endswith("_") for user in value.users):  # it may be written to
        raise _NotConstant
    if value.op == "get_attr":
        return surgery.fetch(gm, value)
    row = op_of(value)
    if not (value.op.startswith("call_") and ((row and row.moves) or op_name(gm, value) in _PURE)):
        raise _NotConstant
    args, kwargs = map_aggregate((value.args, value.kwargs), lambda each: _computed(gm, each))
    target: Any = getattr(args[0], str(value.target)) if value.op == "call_method" else value.target
    return target(*(args[1:] if value.op == "call_method" else args), **kwargs)
