"""stack((a, b, …))[i]   ->   the i-th of them

Tensors that are put together have one scale. nn.LSTM puts together what its layers end with, and most models take the
last layer's out of it again: so that layer needs no scale in common with others.
"""

from __future__ import annotations

from typing import Any

from torch.fx import GraphModule, Node

from fxquant import ops
from fxquant.graph import surgery
from fxquant.graph.pipeline import register_pass
from fxquant.ops.op import op_of


@register_pass(stage="normalize")
def normalize_picked(gm: GraphModule) -> GraphModule:
    for node in list(gm.graph.nodes):
        picked = _picked(node)
        if picked is not None:
            surgery.replace(node, picked)
    return surgery.clean(gm)


def _picked(node: Node) -> Node | None:
    """The tensor among several that `node` takes out of their stack along dimension 0."""
    index, stack = _first_index(node), node.args[0] if node.args else None
    if index is None or not isinstance(stack, Node) or stack.target is not ops.cat:
        return None
    pieces: Any = stack.args[0]
    if stack.args[1] != 0 or not all(piece.target is ops.unsqueeze and piece.args[1] == 0 for piece in pieces):
        return None
    return pieces[index].args[0] if -len(pieces) <= index < len(pieces) else None


def _first_index(node: Node) -> int | None:
    """The index along dimension 0, if that is all of which `node` takes one."""
    row = op_of(node)
    index = node.args[1] if row is not None and row.call is ops.getitem else None
    return index[0] if isinstance(index, tuple) and len(index) == 1 and type(index[0]) is int else None
