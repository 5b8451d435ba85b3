"""size(dequantize(x)) -> size(x): a shape can be asked of the integers as well."""

from __future__ import annotations

from torch.fx import GraphModule, Node

from fxquant import ops
from fxquant.graph import surgery
from fxquant.graph.pipeline import register_pass
from fxquant.graph.shapes import asks_shape


@register_pass(stage="fold")
def fold_shape(gm: GraphModule) -> GraphModule:
    for node in list(gm.graph.nodes):
        real = node.args[0] if node.args else None
        if asks_shape(node) and isinstance(real, Node) and real.target is ops.dequantize:
            (integer,) = real.all_input_nodes
            surgery.replace_in(integer, real, [node])
    return surgery.clean(gm)
