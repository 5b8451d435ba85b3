"""quantize(dequantize(a, p) + dequantize(b, r), q) -> int8_add(a, b, s_a / s_y, s_b / s_y, …)"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.fx import GraphModule

from fxquant import ops, qparams
from fxquant.graph.pipeline import register_pass
from fxquant.graph.rewrite import Match, Rule, apply_rules


class OnOneScale(Rule):
    """`real` of two tensors becomes `int8`, which brings both to the result's scale; `sign`: that of the second."""

    def __init__(self, real: Callable[..., Any], int8: Callable[..., Any], sign: int = 1) -> None:
        self.real, self.int8, self.sign = real, int8, sign

    def pattern(self, a: Any, p: Any, b: Any, r: Any, q: Any) -> Any:
        return ops.quantize(self.real(ops.dequantize(a, p), ops.dequantize(b, r)), q)

    def rewrite(self, m: Match, a: Any, p: Any, b: Any, r: Any, q: Any) -> Any:
        a_multiplier = qparams.float32(m.p.scale / m.q.scale)
        b_multiplier = qparams.float32(self.sign * m.r.scale / m.q.scale)
        return self.int8(a, b, a_multiplier, b_multiplier, m.p.zero_point, m.r.zero_point, qparams.bounds(m.q))


RULES = (OnOneScale(ops.add, ops.int8_add),)


@register_pass(stage="fold")
def fold_add(gm: GraphModule) -> GraphModule:
    return apply_rules(gm, RULES)
