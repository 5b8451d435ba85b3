"""quantize(maximum(dequantize(a, p), dequantize(b, r)), q) -> int8_maximum(a, b, s_a / s_y, s_b / s_y, …)

and likewise for minimum: rounding to another scale keeps what is larger.
"""

from __future__ import annotations

from torch.fx import GraphModule

from fxquant import ops
from fxquant.graph.pipeline import register_pass
from fxquant.graph.rewrite import apply_rules

from .fold_add import OnOneScale

RULES = (OnOneScale(ops.maximum, ops.int8_maximum), OnOneScale(ops.minimum, ops.int8_minimum))


@register_pass(stage="fold")
def fold_extremes(gm: GraphModule) -> GraphModule:
    return apply_rules(gm, RULES)
