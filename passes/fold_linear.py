"""quantize(linear(dequantize(x, p), dequantize(w, s), b), q)        -> int8_linear(x, w, b', m)
quantize(linear(…) + dequantize(r, t), q)                           -> int8_linear(…, residual=r)
quantize(linear(…, dequantize(w, groups of s), b), q)               -> int8_linear_grouped(x, w, s, b / s_y, s_x / s_y)

with b' = round(b / (s_x * s_w)) and m = s_x * s_w / s_y (Jacob et al. 2017, section 2.4).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from fxquant import ops, qparams
from fxquant.graph import surgery
from fxquant.graph.pipeline import register_pass
from fxquant.graph.rewrite import Match, Rule, apply_rules
from fxquant.ops.integer.conv import other_side_first
from fxquant.qparams import FloatOutput, Requantize, Residual


class Linear(Rule):
    def pattern(self, x: Any, p: Any, w: Any, s: Any, b: Any, q: Any) -> Any:
        return ops.quantize(ops.linear(ops.dequantize(x, p), ops.dequantize(w, s), b), q)

    def rewrite(self, m: Match, x: Any, **_: Any) -> Any:
        scale = surgery.fetch(m.gm, m.s.scale) if isinstance(m.s.scale, Node) else m.s.scale
        if isinstance(scale, Tensor) and scale.dim() == 2:
            return _grouped(m, x, scale)
        return integer_linear(m, x, qparams.bounds(m.q))


class LinearAdd(Rule):
    def pattern(self, x: Any, p: Any, w: Any, s: Any, b: Any, r: Any, t: Any, q: Any) -> Any:
        real = ops.linear(ops.dequantize(x, p), ops.dequantize(w, s), b)
        return ops.quantize(ops.add(real, ops.dequantize(r, t)), q)

    def rewrite(self, m: Match, x: Any, r: Any, **_: Any) -> Any:
        return integer_linear(m, x, qparams.bounds(m.q), residual=r, residual_params=residual_params(m))


def _grouped(m: Match, x: Any, scale: Tensor) -> Any:
    weight = m.fetch(m.w)
    bias = torch.zeros(len(weight)) if m.b is None else m.fetch(m.b).float()
    tensors = (m.constant("weight", weight), m.constant("scale", scale), m.constant("shift", bias / m.q.scale))
    multiplier = qparams.float32(m.p.scale / m.q.scale)
    return ops.int8_linear_grouped(x, *tensors, multiplier, m.p.zero_point, qparams.bounds(m.q))


RULES = (Linear(), LinearAdd())


@register_pass(stage="fold")
def fold_linear(gm: GraphModule) -> GraphModule:
    return apply_rules(gm, RULES)


def integer_linear(m: Match, x: Any, output: Requantize | FloatOutput, **residual: Any) -> Any:
    """The integer op for the linear that `m` matched."""
    return ops.int8_linear(x, *integer_parameters(m, output), m.p.zero_point, output, **residual)


def integer_parameters(
    m: Match, output: Requantize | FloatOutput, height: bool = False, inputs_first: bool = False
) -> tuple[Any, Any, Any]:
    """Weight, bias and multiplier of the op that `m` matched, as new buffers.

    `height`: the weight of a conv1d gets a height of 1. `inputs_first`: the weight is that of a transposed convolution,
    and gets its outputs first.
    """
    scale = surgery.fetch(m.gm, m.s.scale) if isinstance(m.s.scale, Node) else m.s.scale
    bias = None if m.b is None else m.fetch(m.b)
    weight = m.fetch(m.w)
    if inputs_first:
        weight, scale = outputs_first(weight, scale, m.s.axis, m.groups)
    if isinstance(output, FloatOutput):
        found = qparams.float_parameters(weight, scale, bias, m.p.scale)
    else:
        found = qparams.integer_parameters(weight, scale, bias, m.p.scale, m.q.scale)
    weight = found.weight.unsqueeze(2) if height else found.weight
    return m.constant("weight", weight), m.constant("bias", found.bias), m.constant("multiplier", found.multiplier)


def outputs_first(weight: Tensor, scale: Any, axis: int | None, groups: int) -> tuple[Tensor, Any]:
    """The weight [I, O / groups, ...] of a transposed convolution as [O, I / groups, ...], and its scale or scales [O].

    `axis`: the dimension of `weight` that scales are along; in dimension 1 all groups have the same.
    """
    if isinstance(scale, Tensor) and axis == 1:
        scale = scale.repeat(groups)
    return other_side_first(weight, groups), scale


def residual_params(m: Match) -> Residual:
    """How the residual r, of qparams t, enters the sum before it is rounded to q."""
    return Residual(m.t.zero_point, qparams.float32(m.t.scale / m.q.scale))
