"""x * sigmoid(x)              -> silu(x)
relu6(x + 3) / 6             -> hardsigmoid(x)
x * hardsigmoid(x)           -> hardswish(x)
x * relu6(x + 3) / 6         -> hardswish(x)
x / 2 * (1 + tanh(u))        -> gelu(x, "tanh")      u = sqrt(2 / pi) * (x + 0.044715 * x^3), in two spellings

Activations written out. As one op each is a table of one rounding; in parts, every part would be rounded.
"""

from __future__ import annotations

import math
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


class GeluTanh(Rule):
    """As `NewGELUActivation` of transformers, which GPT-2 has, and `GELUTanh` write it."""

    def pattern(self, x: Any) -> Any:
        u = ops.mul(ops.add(x, ops.mul(ops.pow(x, 3.0), 0.044715)), math.sqrt(2.0 / math.pi))
        return ops.mul(ops.mul(x, 0.5), ops.add(ops.tanh(u), 1.0))

    def rewrite(self, m: Match, x: Any) -> Any:
        return ops.gelu(x, "tanh")


class GeluTanhOfSquares(GeluTanh):
    """As `FastGELUActivation` of transformers writes it, which has fewer digits."""

    def pattern(self, x: Any) -> Any:
        u = ops.mul(ops.mul(x, 0.7978845608), ops.add(ops.mul(ops.mul(x, 0.044715), x), 1.0))
        return ops.mul(ops.mul(x, 0.5), ops.add(ops.tanh(u), 1.0))


RULES = (Silu(), HardswishDividedLast(), Hardsigmoid(), Hardswish(), GeluTanh(), GeluTanhOfSquares())


@register_pass(stage="normalize")
def normalize_activations(gm: GraphModule) -> GraphModule:
    return apply_rules(gm, RULES)
