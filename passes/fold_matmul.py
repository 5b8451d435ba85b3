"""quantize(matmul(dequantize(a, p), dequantize(b, r), c), q)             -> int8_matmul(a, b, c * s_a * s_b / s_y, …)
quantize(attention(dequantize(x, p), dequantize(k, r), dequantize(v, t), mask), q)   -> int8_attention(x, k, v, mask, …)
"""

from __future__ import annotations

from typing import Any

from torch.fx import GraphModule

from fxquant import ops, qparams
from fxquant.graph.pipeline import register_pass
from fxquant.graph.rewrite import Match, Rule, apply_rules
from fxquant.ops.integer.exponential import LOG2_E


class Matmul(Rule):
    def pattern(self, a: Any, p: Any, b: Any, r: Any, scale: Any, q: Any) -> Any:
        return ops.quantize(ops.matmul(ops.dequantize(a, p), ops.dequantize(b, r), scale), q)

    def rewrite(self, m: Match, a: Any, b: Any, **_: Any) -> Any:
        multiplier = qparams.float32(m.p.scale * m.r.scale * m.scale / m.q.scale)
        return ops.int8_matmul(a, b, multiplier, m.p.zero_point, m.r.zero_point, qparams.bounds(m.q))


class Attention(Rule):
    def pattern(
        self,
        x: Any,
        p: Any,
        k: Any,
        r: Any,
        v: Any,
        t: Any,
        mask: Any,
        causal: Any,
        scale: Any,
        q: Any,
    ) -> Any:
        real = ops.dequantize(x, p), ops.dequantize(k, r), ops.dequantize(v, t)
        return ops.quantize(ops.attention(*real, mask, causal, scale), q)

    def rewrite(self, m: Match, x: Any, k: Any, v: Any, mask: Any, **_: Any) -> Any:
        score_multiplier = qparams.float32(m.p.scale * m.r.scale * m.scale * LOG2_E)
        return ops.int8_attention(
            *(x, k, v, score_multiplier, m.p.zero_point, m.r.zero_point),
            *(qparams.float32(m.t.scale / m.q.scale), m.t.zero_point, qparams.bounds(m.q), m.causal, mask),
        )


RULES = (Matmul(), Attention())


@register_pass(stage="fold")
def fold_matmul(gm: GraphModule) -> GraphModule:
    return apply_rules(gm, RULES)
