"""quantize(maximum(dequantize(a, p), dequantize(b, r)), q) -> int8_maximum(a, b, s_a / s_y, s_b / s_y, …)

and likewise for minimum: rounding to another scale keeps what is larger.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.fx import GraphModule

from fxquant import ops, qparams
from fxquant.graph.pipeline import register_pass
from fxquant.graph.rewrite import Match, Rule, apply_rules


class Extreme(Rule):
    def __init__(self, extreme: Callable[..., Any], int8: Callable[..., Any]) -> None:
        self.extreme, self.int8 = extreme, int8

    def pattern(self, a: Any, p: Any, b: Any, r: Any, q: Any) -> Any:
        return ops.quantize(self.extreme(ops.dequantize(a, p), ops.dequantize(b, r)), q)

    def rewrite(self, m: Match, a: Any, p: Any, b: Any, r: Any, q: Any) -> Any:
        a_multiplier, b_multiplier = (qparams.float32(side.scale / m.q.scale) for side in (m.p, m.r))
        return self.int8(a, b, a_multiplier, b_multiplier, m.p.zero_point, m.r.zero_point, qparams.bounds(m.q))


@register_pass(stage="fold")
def fold_extremes(gm: GraphModule) -> GraphModule:
    return apply_rules(gm, [Extreme(ops.maximum, ops.int8_maximum), Extreme(ops.minimum, ops.int8_minimum)])
