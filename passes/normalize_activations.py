"""x * sigmoid(x)              -> silu(x)
relu6(x + 3) / 6             -> hardsigmoid(x)
x * hardsigmoid(x)           -> hardswish(x)
x * relu6(x + 3) / 6         -> hardswish(x)

Activations written out. As one op each is a table of one rounding; in parts, every part would be rounded.
"""

from __future__ import annotations

from typing import Any

from torch.fx import GraphModule

from fxquant import ops
from fxquant.graph.pipeline import register_pass
from fxquant.graph.rewrite import Match, Rule, apply_rules


class Silu(Rule):
    def pattern(self, x: Any) -> Any:
        return ops.mul(x, ops.sigmoid(x))

    def rewrite(self, m: Match, x: Any) -> Any:
        return ops.silu(x)


class Hardsigmoid(Rule):
    def pattern(self, x: Any) -> Any:
        return ops.div(ops.clamp(ops.add(x, 3.0), 0.0, 6.0), 6.0)

    def rewrite(self, m: Match, x: Any) -> Any:
        return ops.hardsigmoid(x)


class Hardswish(Rule):
    def pattern(self, x: Any) -> Any:
        return ops.mul(x, ops.hardsigmoid(x))

    def rewrite(self, m: Match, x: Any) -> Any:
        return ops.hardswish(x)


class HardswishDividedLast(Rule):
    def pattern(self, x: Any) -> Any:
        return ops.div(ops.mul(x, ops.clamp(ops.add(x, 3.0), 0.0, 6.0)), 6.0)

    def rewrite(self, m: Match, x: Any) -> Any:
        return ops.hardswish(x)


RULES = (Silu(), HardswishDividedLast(), Hardsigmoid(), Hardswish())


@register_pass(stage="normalize")
def normalize_activations(gm: GraphModule) -> GraphModule:
    return apply_rules(gm, RULES)
