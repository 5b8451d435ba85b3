"""quantize(conv(dequantize(x, p), dequantize(w, s), b, …), q)   -> int8_conv2d(x, w, b', m, …)
quantize(conv(…) + dequantize(r, t), q)                         -> int8_conv2d(…, residual=r)

with b' = round(b / (s_x * s_w)) and m = s_x * s_w / s_y (Jacob et al. 2017, section 2.4). A conv1d is a conv2d of
height 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.fx import GraphModule

from fxquant import ops, qparams
from fxquant.graph.pipeline import register_pass
from fxquant.graph.rewrite import Match, Rule, apply_rules

from .fold_linear import integer_parameters, residual_params


class _Convolution(Rule):
    def __init__(self, conv: Callable[..., Any]) -> None:
        self.conv = conv
        self.flat = conv is ops.conv1d

    def real(self, x: Any, p: Any, w: Any, s: Any, *settings: Any) -> Any:
        return self.conv(ops.dequantize(x, p), ops.dequantize(w, s), *settings)

    def integer(self, m: Match, x: Any, **residual: Any) -> Any:
        weight, bias, multiplier = integer_parameters(m, height=self.flat)
        padding = self._pair(m.padding, 0)
        y = ops.int8_conv2d(
            *(self.images(x), weight, bias, multiplier, m.p.zero_point, qparams.bounds(m.q)),
            *(self._pair(m.stride, 1), (*padding, *padding), self._pair(m.dilation, 1), m.groups),
            **residual,
        )
        return ops.squeeze(y, (2,)) if self.flat else y

    def images(self, x: Any) -> Any:
        return ops.unsqueeze(x, 2) if self.flat else x

    def _pair(self, value: Any, flat: int) -> tuple[int, int]:
        return (flat, *value) if self.flat else tuple(value)


class Conv(_Convolution):
    def pattern(
        self, x: Any, p: Any, w: Any, s: Any, b: Any, stride: Any, padding: Any, dilation: Any, groups: Any, q: Any
    ) -> Any:
        return ops.quantize(self.real(x, p, w, s, b, stride, padding, dilation, groups), q)

    def rewrite(self, m: Match, x: Any, **_: Any) -> Any:
        return self.integer(m, x)


class ConvAdd(_Convolution):
    def pattern(
        self,
        x: Any,
        p: Any,
        w: Any,
        s: Any,
        b: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: Any,
        r: Any,
        t: Any,
        q: Any,
    ) -> Any:
        real = self.real(x, p, w, s, b, stride, padding, dilation, groups)
        return ops.quantize(ops.add(real, ops.dequantize(r, t)), q)

    def rewrite(self, m: Match, x: Any, r: Any, **_: Any) -> Any:
        return self.integer(m, x, residual=self.images(r), residual_params=residual_params(m))


@register_pass(stage="fold")
def fold_conv(gm: GraphModule) -> GraphModule:
    return apply_rules(gm, [rule(conv) for conv in (ops.conv1d, ops.conv2d) for rule in (Conv, ConvAdd)])
