"""quantize(parameter, q) -> buffer: what does not depend on the input is computed once."""

from __future__ import annotations

from torch.fx import GraphModule, Node

from fxquant import ops, qparams
from fxquant.graph import surgery
from fxquant.graph.pipeline import register_pass


@register_pass(stage="fold")
def fold_constant(gm: GraphModule) -> GraphModule:
    for node in list(gm.graph.nodes):
        if node.target is not ops.quantize:
            continue
        source, q = node.args
        if isinstance(source, Node) and source.op == "get_attr":
            integer = qparams.quantize(surgery.fetch(gm, source), q)
            surgery.replace(node, surgery.constant(gm, f"{source.target}_int8", integer, node))
    return surgery.clean(gm)
