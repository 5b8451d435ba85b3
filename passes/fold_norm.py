"""quantize(layer_norm(dequantize(x, p), shape, w, b, eps), q)   -> int8_layer_norm(x, shape, w / s_y, b / s_y, …)
quantize(rms_norm(dequantize(x, p), shape, w, eps), q)        -> int8_rms_norm(x, shape, w / s_y, …)
quantize(group_norm(dequantize(x, p), n, w, b, eps), q)       -> int8_group_norm(x, n, w / s_y, b / s_y, …)

The scale and zero point of x cancel; only eps is brought into its units, eps / s_x^2.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

from fxquant import ops, qparams
from fxquant.graph.pipeline import register_pass
from fxquant.graph.rewrite import Match, Rule, apply_rules


class LayerNorm(Rule):
    def pattern(self, x: Any, p: Any, shape: Any, w: Any, b: Any, eps: Any, q: Any) -> Any:
        return ops.quantize(ops.layer_norm(ops.dequantize(x, p), shape, w, b, eps), q)

    def rewrite(self, m: Match, x: Any, **_: Any) -> Any:
        gain, shift = _constant(m, "gain", m.w, m.shape, 1.0), _constant(m, "shift", m.b, m.shape, 0.0)
        return ops.int8_layer_norm(x, m.shape, gain, shift, _eps(m), qparams.bounds(m.q))


class RmsNorm(Rule):
    def pattern(self, x: Any, p: Any, shape: Any, w: Any, eps: Any, q: Any) -> Any:
        return ops.quantize(ops.rms_norm(ops.dequantize(x, p), shape, w, eps), q)

    def rewrite(self, m: Match, x: Any, **_: Any) -> Any:
        gain = _constant(m, "gain", m.w, m.shape, 1.0)
        return ops.int8_rms_norm(x, m.shape, gain, _eps(m), m.p.zero_point, qparams.bounds(m.q))


class GroupNorm(Rule):
    def pattern(self, x: Any, p: Any, groups: Any, w: Any, b: Any, eps: Any, q: Any) -> Any:
        return ops.quantize(ops.group_norm(ops.dequantize(x, p), groups, w, b, eps), q)

    def rewrite(self, m: Match, x: Any, **_: Any) -> Any:
        channels = (m.root.meta["shape"][1],)
        gain, shift = _constant(m, "gain", m.w, channels, 1.0), _constant(m, "shift", m.b, channels, 0.0)
        return ops.int8_group_norm(x, m.groups, gain, shift, _eps(m), qparams.bounds(m.q))


def _constant(m: Match, name: str, parameter: Any, shape: tuple[int, ...], default: float) -> Any:
    """The parameter, or as many of `default`, in units of the output's scale."""
    real: Tensor = torch.full(shape, default) if parameter is None else m.fetch(parameter)
    return m.constant(name, (real.double() / m.q.scale).float())


def _eps(m: Match) -> float:
    return qparams.float32(m.eps / m.p.scale**2)


RULES = (LayerNorm(), RmsNorm(), GroupNorm())


@register_pass(stage="fold")
def fold_norm(gm: GraphModule) -> GraphModule:
    return apply_rules(gm, RULES)
