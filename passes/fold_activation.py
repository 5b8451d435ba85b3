"""quantize(relu(x), q)          -> quantize(x, q saturated at 0)
quantize(clamp(x, a, b), q)   -> quantize(x, q saturated at a and b)

The clamp moves into the bounds of the quantize, and from there into the epilogue of the op before it.
"""

from __future__ import annotations

from typing import Any

from torch.fx import GraphModule

from fxquant import ops, qparams
from fxquant.graph.pipeline import register_pass
from fxquant.graph.rewrite import Match, Rule, apply_rules


class Relu(Rule):
    def pattern(self, x: Any, q: Any) -> Any:
        return ops.quantize(ops.relu(x), q)

    def rewrite(self, m: Match, x: Any, q: Any) -> Any:
        return ops.quantize(x, qparams.saturate(m.q, 0.0, None))


class Clamp(Rule):
    def pattern(self, x: Any, low: Any, high: Any, q: Any) -> Any:
        return ops.quantize(ops.clamp(x, low, high), q)

    def check(self, m: Match) -> None:
        if not all(bound is None or isinstance(bound, (int, float)) for bound in (m.low, m.high)):
            m.refuse("the bounds are computed, not constant")

    def rewrite(self, m: Match, x: Any, low: Any, high: Any, q: Any) -> Any:
        return ops.quantize(x, qparams.saturate(m.q, low, high))


RULES = (Relu(), Clamp())


@register_pass(stage="fold")
def fold_activation(gm: GraphModule) -> GraphModule:
    return apply_rules(gm, RULES)
