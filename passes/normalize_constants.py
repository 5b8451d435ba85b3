"""conv(x, f(parameter))   ->   conv(x, buffer)

A weight or bias that is computed from parameters alone, as a slice of one or standardized, is the same at every call.
In a model that is trained it is not.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from fxquant.graph import surgery
from fxquant.graph.pipeline import register_pass
from fxquant.ops.op import op_of


@register_pass(stage="normalize")
def normalize_constants(gm: GraphModule) -> GraphModule:
    if gm.meta.get("trains"):
        return gm
    for node in list(gm.graph.nodes):
        row = op_of(node)
        for role in (*row.weights, row.bias) if row is not None else ():
            value = row.bind(node).get(role) if role else None  # type: ignore[union-attr]
            if not isinstance(value, Node) or value.op == "get_attr":
                continue
            tensor = _value(gm, value)
            if tensor is not None:
                surgery.replace(value, surgery.own_constant(gm, value, str(role), tensor))
    return surgery.clean(gm)


def _value(gm: GraphModule, node: Node) -> Tensor | None:
    """What `node` is, if parameters and constants alone make it."""
    steps = _made_from_parameters(node)
    if steps is None:
        return None
    values: dict[Node, Any] = {}
    state = torch.get_rng_state()
    with torch.random.fork_rng(), torch.no_grad():
        for step in steps:
            values[step] = _run(gm, step, *map_arg((step.args, step.kwargs), values.__getitem__))
        drawn = not torch.equal(state, torch.get_rng_state())
    tensor = values[node]
    return None if drawn or not isinstance(tensor, Tensor) else tensor.clone()


def _run(gm: GraphModule, step: Node, args: Any, kwargs: Any) -> Any:
    if step.op == "get_attr":
        return surgery.fetch(gm, step)
    call: Any = getattr(args[0], str(step.target)) if step.op == "call_method" else step.target
    return call(*args[step.op == "call_method" :], **kwargs)


def _made_from_parameters(node: Node) -> list[Node] | None:
    """What makes `node`, itself last, or None if an input, a module or nothing at all is among it."""
    steps: dict[Node, None] = {}

    def follow(step: Node) -> bool:
        if step in steps:
            return True
        inputs = step.all_input_nodes
        if step.op != "get_attr" and (step.op not in ("call_function", "call_method") or not inputs):
            return False
        if not all(follow(x) for x in inputs):
            return False
        steps[step] = None
        return True

    return list(steps) if follow(node) else None
