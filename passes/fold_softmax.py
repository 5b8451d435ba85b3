"""quantize(softmax(dequantize(x, p), dim, mask), q)   -> int8_softmax(x, dim, s_x, z_x, 1 / s_y, …, mask)
quantize(log_softmax(dequantize(x, p), dim), q)     -> int8_log_softmax(x, dim, s_x, z_x, 1 / s_y, …)
"""

from __future__ import annotations

from typing import Any

from torch.fx import GraphModule

from fxquant import ops, qparams
from fxquant.graph.pipeline import register_pass
from fxquant.graph.rewrite import Match, Rule, apply_rules


class Softmax(Rule):
    def pattern(self, x: Any, p: Any, dim: Any, mask: Any, q: Any) -> Any:
        return ops.quantize(ops.softmax(ops.dequantize(x, p), dim, mask), q)

    def rewrite(self, m: Match, x: Any, mask: Any, **_: Any) -> Any:
        return ops.int8_softmax(x, m.dim, *_numbers(m), mask)


class LogSoftmax(Rule):
    def pattern(self, x: Any, p: Any, dim: Any, q: Any) -> Any:
        return ops.quantize(ops.log_softmax(ops.dequantize(x, p), dim), q)

    def rewrite(self, m: Match, x: Any, **_: Any) -> Any:
        return ops.int8_log_softmax(x, m.dim, *_numbers(m))


def _numbers(m: Match) -> tuple[float, int, float, Any]:
    scale, inverse = qparams.float32(m.p.scale), qparams.float32(1 / m.q.scale)
    return scale, m.p.zero_point, inverse, qparams.bounds(m.q)


RULES = (Softmax(), LogSoftmax())


@register_pass(stage="fold")
def fold_softmax(gm: GraphModule) -> GraphModule:
    return apply_rules(gm, RULES)
