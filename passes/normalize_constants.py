"""conv(x, f(parameter))   ->   conv(x, buffer)

A weight or bias that is computed from parameters alone, as a slice of one or standardized, is the same at every call.
In a model that is trained it is not.
"""

from __future__ import annotations

from torch.fx import GraphModule, Node

from fxquant.graph import surgery
from fxquant.graph.constants import fixed_value
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
            tensor = fixed_value(gm, value)
            if tensor is not None:
                surgery.replace(value, surgery.own_constant(gm, value, str(role), tensor))
    return surgery.clean(gm)
