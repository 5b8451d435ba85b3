"""quantize(dequantize(a, p) - dequantize(b, r), q) -> int8_add(a, b, s_a / s_y, -s_b / s_y, …)"""

from __future__ import annotations

from torch.fx import GraphModule

from fxquant import ops
from fxquant.graph.pipeline import register_pass
from fxquant.graph.rewrite import apply_rules

from .fold_add import OnOneScale

RULES = (OnOneScale(ops.sub, ops.int8_add, sign=-1),)


@register_pass(stage="fold")
def fold_sub(gm: GraphModule) -> GraphModule:
    return apply_rules(gm, RULES)
