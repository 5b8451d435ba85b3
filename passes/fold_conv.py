"""quantize(conv(dequantize(x, p), dequantize(w, s), b, …), q)   -> int8_conv2d(x, w, b', m, …)
quantize(conv(…) + dequantize(r, t), q)                         -> int8_conv2d(…, residual=r)

with b' = round(b / (s_x * s_w)) and m = s_x * s_w / s_y (Jacob et al. 2017, section 2.4); likewise for volumes, and for
transposed convolutions. A convolution along one dimension is one of images of height 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.fx import GraphModule

from fxquant import ops, qparams
from fxquant.graph.pipeline import register_pass
from fxquant.graph.rewrite import Match, Rule, apply_rules
from fxquant.qparams import FloatOutput, Requantize

from .fold_linear import integer_parameters, residual_params


class Convolution(Rule):
    """`conv`, whose settings stand in the graph as of `settings`, becomes `int8`; `flat`: an image of height 1."""

    def __init__(self, conv: Callable[..., Any], int8: Callable[..., Any], flat: bool = False) -> None:
        self.conv, self.int8, self.flat = conv, int8, flat

    def real(self, x: Any, p: Any, w: Any, s: Any, *settings: Any) -> Any:
        return self.conv(ops.dequantize(x, p), ops.dequantize(w, s), *settings)

    def settings(self, m: Match) -> tuple[Any, ...]:
        """Stride, padding and the rest, as `int8` takes them."""
        padding = self.sizes(m.padding, 0)
        both_sides = (*padding, *padding) if self.int8 is ops.int8_conv2d else padding
        return self.sizes(m.stride, 1), both_sides, self.sizes(m.dilation, 1), m.groups

    def parameters(self, m: Match, output: Requantize | FloatOutput) -> tuple[Any, Any, Any]:
        return integer_parameters(m, output, height=self.flat)

    def integer(self, m: Match, x: Any, output: Requantize | FloatOutput, **residual: Any) -> Any:
        weights = self.parameters(m, output)
        y = self.int8(self.images(x), *weights, m.p.zero_point, output, *self.settings(m), **residual)
        return ops.squeeze(y, (2,)) if self.flat else y

    def images(self, x: Any) -> Any:
        return ops.unsqueeze(x, 2) if self.flat else x

    def sizes(self, value: Any, flat: int) -> tuple[int, ...]:
        """A setting for each dimension, `flat` for the height that a convolution along one does not have."""
        return (flat, *value) if self.flat else tuple(value)

    def summed(self, m: Match, x: Any, r: Any) -> Any:
        return self.integer(m, x, qparams.bounds(m.q), residual=self.images(r), residual_params=residual_params(m))


class Conv(Convolution):
    def pattern(
        self, x: Any, p: Any, w: Any, s: Any, b: Any, stride: Any, padding: Any, dilation: Any, groups: Any, q: Any
    ) -> Any:
        return ops.quantize(self.real(x, p, w, s, b, stride, padding, dilation, groups), q)

    def rewrite(self, m: Match, x: Any, **_: Any) -> Any:
        return self.integer(m, x, qparams.bounds(m.q))


class ConvAdd(Convolution):
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
        return self.summed(m, x, r)


class TransposedConvolution(Convolution):
    def settings(self, m: Match) -> tuple[Any, ...]:
        extra = self.sizes(m.output_padding, 0)
        return self.sizes(m.stride, 1), self.sizes(m.padding, 0), extra, m.groups, self.sizes(m.dilation, 1)

    def parameters(self, m: Match, output: Requantize | FloatOutput) -> tuple[Any, Any, Any]:
        return integer_parameters(m, output, height=self.flat, inputs_first=True)


class ConvTranspose(TransposedConvolution):
    def pattern(
        self,
        x: Any,
        p: Any,
        w: Any,
        s: Any,
        b: Any,
        stride: Any,
        padding: Any,
        output_padding: Any,
        groups: Any,
        dilation: Any,
        q: Any,
    ) -> Any:
        return ops.quantize(self.real(x, p, w, s, b, stride, padding, output_padding, groups, dilation), q)

    def rewrite(self, m: Match, x: Any, **_: Any) -> Any:
        return self.integer(m, x, qparams.bounds(m.q))


class ConvTransposeAdd(TransposedConvolution):
    def pattern(
        self,
        x: Any,
        p: Any,
        w: Any,
        s: Any,
        b: Any,
        stride: Any,
        padding: Any,
        output_padding: Any,
        groups: Any,
        dilation: Any,
        r: Any,
        t: Any,
        q: Any,
    ) -> Any:
        real = self.real(x, p, w, s, b, stride, padding, output_padding, groups, dilation)
        return ops.quantize(ops.add(real, ops.dequantize(r, t)), q)

    def rewrite(self, m: Match, x: Any, r: Any, **_: Any) -> Any:
        return self.summed(m, x, r)


ORDINARY: tuple[Any, ...] = (
    (ops.conv1d, ops.int8_conv2d, True),
    (ops.conv2d, ops.int8_conv2d),
    (ops.conv3d, ops.int8_conv3d),
)
TRANSPOSED: tuple[Any, ...] = (
    (ops.conv_transpose1d, ops.int8_conv_transpose2d, True),
    (ops.conv_transpose2d, ops.int8_conv_transpose2d),
    (ops.conv_transpose3d, ops.int8_conv_transpose3d),
)


RULES: tuple[Rule, ...] = (
    *(rule(*forms) for forms in ORDINARY for rule in (Conv, ConvAdd)),
    *(rule(*forms) for forms in TRANSPOSED for rule in (ConvTranspose, ConvTransposeAdd)),
)


@register_pass(stage="fold")
def fold_conv(gm: GraphModule) -> GraphModule:
    return apply_rules(gm, RULES)
