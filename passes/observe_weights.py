"""weight -> observer(weight) for every weight that an int8 op reads."""

from __future__ import annotations

from typing import Any

from torch.fx import GraphModule, Node

from fxquant.graph import surgery
from fxquant.graph.annotation import quant_of
from fxquant.graph.origin import where
from fxquant.graph.pipeline import register_pass
from fxquant.ops.op import op_of


@register_pass(stage="observe")
def observe_weights(gm: GraphModule) -> GraphModule:
    for node in list(gm.graph.nodes):
        row = op_of(node)
        if row is None or row.weight is None or not quant_of(node).int8:
            continue
        weight: Node = row.bind(node)[row.weight]
        observer: Any = node.meta["qconfig"].qconfig.weight()
        observer.where = f"the weight of {where(node)}"
        name = surgery.add_module(gm, f"{weight.target}_observer", observer)
        surgery.replace_in(surgery.call_module(node, name, weight), weight, [node])
    return surgery.clean(gm)
