"""quantize(dequantize(a, p) / dequantize(b, r), q) -> int8_div(a, b, s_a / (s_b * s_y), …)"""

from __future__ import annotations

from typing import Any

from torch.fx import GraphModule

from fxquant import ops, qparams
from fxquant.graph.pipeline import register_pass
from fxquant.graph.rewrite import Match, Rule, apply_rules


class Div(Rule):
    def pattern(self, a: Any, p: Any, b: Any, r: Any, q: Any) -> Any:
        return ops.quantize(ops.div(ops.dequantize(a, p), ops.dequantize(b, r)), q)

    def rewrite(self, m: Match, a: Any, p: Any, b: Any, r: Any, q: Any) -> Any:
        multiplier = qparams.float32(m.p.scale / (m.r.scale * m.q.scale))
        return ops.int8_div(a, b, multiplier, m.p.zero_point, m.r.zero_point, qparams.bounds(m.q))


RULES = (Div(),)


@register_pass(stage="fold")
def fold_div(gm: GraphModule) -> GraphModule:
    return apply_rules(gm, RULES)
