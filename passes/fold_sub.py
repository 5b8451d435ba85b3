"""quantize(dequantize(a, p) - dequantize(b, r), q) -> int8_add(a, b, s_a / s_y, -s_b / s_y, …)"""

from __future__ import annotations

from typing import Any

from torch.fx import GraphModule

from fxquant import ops, qparams
from fxquant.graph.pipeline import register_pass
from fxquant.graph.rewrite import Match, Rule, apply_rules


class Sub(Rule):
    def pattern(self, a: Any, p: Any, b: Any, r: Any, q: Any) -> Any:
        return ops.quantize(ops.sub(ops.dequantize(a, p), ops.dequantize(b, r)), q)

    def rewrite(self, m: Match, a: Any, p: Any, b: Any, r: Any, q: Any) -> Any:
        a_multiplier, b_multiplier = qparams.float32(m.p.scale / m.q.scale), qparams.float32(-m.r.scale / m.q.scale)
        return ops.int8_add(a, b, a_multiplier, b_multiplier, m.p.zero_point, m.r.zero_point, qparams.bounds(m.q))


@register_pass(stage="fold")
def fold_sub(gm: GraphModule) -> GraphModule:
    return apply_rules(gm, [Sub()])
