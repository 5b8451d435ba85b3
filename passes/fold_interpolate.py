"""quantize(interpolate(dequantize(x, q), …), q) -> int8_interpolate_…(x, …): results lie among their inputs."""

from __future__ import annotations

from typing import Any

from torch.fx import GraphModule

from fxquant import ops
from fxquant.graph.pipeline import register_pass
from fxquant.graph.rewrite import Match, Rule, apply_rules


class Interpolate(Rule):
    def pattern(self, x: Any, q: Any, size: Any, scale: Any, mode: Any, align_corners: Any) -> Any:
        return ops.quantize(ops.interpolate(ops.dequantize(x, q), size, scale, mode, align_corners), q)

    def rewrite(self, m: Match, x: Any, size: Any, scale: Any, mode: Any, align_corners: Any, **_: Any) -> Any:
        if mode == "nearest":
            return ops.int8_interpolate_nearest(x, size, scale)
        return ops.int8_interpolate_bilinear(x, size, scale, align_corners, int(m.q.zero_point))


RULES = (Interpolate(),)


@register_pass(stage="fold")
def fold_interpolate(gm: GraphModule) -> GraphModule:
    return apply_rules(gm, RULES)
