"""Values that depend on parameters and buffers alone, computed while the graph is rewritten."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.node import map_aggregate

from fxquant.graph import surgery
from fxquant.graph.called import called, is_called
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
    return _tensor(gm, value, lambda node: _is_pure(gm, node))


def fixed_value(gm: GraphModule, value: Node) -> Tensor | None:
    """The same of any functions and methods that read something and draw no random numbers; a copy."""
    state = torch.get_rng_state()
    with torch.random.fork_rng(), torch.no_grad():
        found = _tensor(gm, value, lambda node: bool(node.all_input_nodes))
        return None if found is None or not torch.equal(state, torch.get_rng_state()) else found.clone()


def _is_pure(gm: GraphModule, node: Node) -> bool:
    row = op_of(node)
    return bool((row and row.moves) or op_name(gm, node) in _PURE)


def _tensor(gm: GraphModule, value: Any, may_run: Callable[[Node], bool]) -> Tensor | None:
    try:
        found = _computed(gm, value, may_run)
    except _NotConstant:
        return None
    return found if isinstance(found, Tensor) else None


def _computed(gm: GraphModule, value: Any, may_run: Callable[[Node], bool]) -> Any:
    if not isinstance(value, Node):
        return value
    if any(op_name(gm, user).endswith("_") for user in value.users):  # it may be written to
        raise _NotConstant
    if value.op == "get_attr":
        return surgery.fetch(gm, value)
    if not is_called(value) or not may_run(value):
        raise _NotConstant
    args, kwargs = map_aggregate((value.args, value.kwargs), lambda each: _computed(gm, each, may_run))
    return called(value, args, kwargs)
