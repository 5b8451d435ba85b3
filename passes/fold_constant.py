"""quantize(parameter, q) -> buffer, dequantize(parameter, q) -> buffer: what depends on no input is computed once.

A weight is still dequantized here where its op computes in float after all, because a plug-in took away the integers
that it was to read.
"""

from __future__ import annotations

from torch.fx import GraphModule
from torch.fx.node import map_arg

from fxquant import ops
from fxquant.graph import surgery
from fxquant.graph.pipeline import register_pass
from fxquant.ops.op import op_of

_NAMES = {ops.quantize: "int8", ops.dequantize: "float"}


@register_pass(stage="fold")
def fold_constant(gm: GraphModule) -> GraphModule:
    for node in list(gm.graph.nodes):
        row = op_of(node)
        if row is None or row.call not in _NAMES or any(x.op != "get_attr" for x in node.all_input_nodes):
            continue
        value = row.body(*map_arg(node.args, lambda x: surgery.fetch(gm, x)))
        name = f"{node.all_input_nodes[0].target}_{_NAMES[row.call]}"
        surgery.replace(node, surgery.constant(gm, name, value, node))
    return surgery.clean(gm)
