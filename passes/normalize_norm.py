"""x * rsqrt(mean(x^2) + eps)        -> rms_norm(x, eps)
rms_norm(x, eps) * weight          -> rms_norm(x, weight, eps)

RMS norms written out, as language models have them. A mean square of 8 bits would leave little of rows whose values are
small, and its reciprocal root is all that counts.
"""

from __future__ import annotations

from typing import Any

from torch.fx import GraphModule

from fxquant import ops
from fxquant.graph.pipeline import register_pass
from fxquant.graph.rewrite import Match, Rule, apply_rules
from fxquant.graph.shapes import infer_shapes


class RmsNorm(Rule):
    def pattern(self, x: Any, dim: Any, eps: Any) -> Any:
        return ops.mul(x, ops.rsqrt(ops.add(ops.mean(ops.pow(x, 2), dim, True), eps)))

    def check(self, m: Match) -> None:
        shape = m.x.meta.get("shape")
        if shape is None or m.dim not in (-1, (-1,), len(shape) - 1, (len(shape) - 1,)):
            m.refuse("the mean is not along the last dimension")
        if not isinstance(m.eps, (int, float)):
            m.refuse("what is added to the mean square is computed, not a number")

    def rewrite(self, m: Match, x: Any, dim: Any, eps: Any) -> Any:
        return ops.rms_norm(x, (m.x.meta["shape"][-1],), None, eps)


class Weighted(Rule):
    def pattern(self, x: Any, size: Any, eps: Any, weight: Any) -> Any:
        return ops.mul(ops.rms_norm(x, size, None, eps), weight)

    def check(self, m: Match) -> None:
        if m.fetch(m.weight).shape != tuple(m.size):
            m.refuse("the factor is no weight of the last dimension")

    def rewrite(self, m: Match, x: Any, size: Any, eps: Any, weight: Any) -> Any:
        return ops.rms_norm(x, size, weight, eps)


RULES = (RmsNorm(), Weighted())


@register_pass(stage="normalize")
def normalize_norm(gm: GraphModule) -> GraphModule:
    return infer_shapes(apply_rules(gm, RULES))
