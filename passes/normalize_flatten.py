"""reshape(x, (x.size(0), -1))   ->   flatten(x, 1)

However the batch size is fetched, so that no size is computed while the model runs.
"""

from __future__ import annotations

import operator
from typing import Any

from torch.fx import GraphModule, Node

from fxquant import ops
from fxquant.graph import surgery
from fxquant.graph.pipeline import register_pass
from fxquant.ops.op import op_of


@register_pass(stage="normalize")
def normalize_flatten(gm: GraphModule) -> GraphModule:
    for node in list(gm.graph.nodes):
        row = op_of(node)
        if row is None or row.name != "reshape":
            continue
        x, shape = node.args
        rank = len(x.meta.get("shape", ()))
        if rank > 1 and isinstance(shape, tuple) and len(shape) == 2 and shape[1] == -1 and _is_batch_size(shape[0], x):
            surgery.replace(node, surgery.emit(node, ops.flatten, x, 1, rank - 1, sources=(node,)))
    return surgery.clean(gm)


def _is_batch_size(value: Any, x: Any) -> bool:
    """Whether `value` is x.size(0), x.size()[0] or x.shape[0]."""
    if not isinstance(value, Node):
        return False
    if value.target == "size":
        return bool(value.args == (x, 0) or (value.args == (x,) and value.kwargs == {"dim": 0}))
    return value.target is operator.getitem and bool(value.args[1] == 0) and _is_shape(value.args[0], x)


def _is_shape(value: Any, x: Any) -> bool:
    if not isinstance(value, Node) or value.args[:1] != (x,):
        return False
    rest = value.args[1:]
    return (value.target == "size" and not rest) or (value.target is getattr and rest == ("shape",))
