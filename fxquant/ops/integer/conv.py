"""Convolutions of integers:

acc[o] = bias[o] + sum over taps and channels of (x - x_zero_point) * weight[o]        (padding reads x_zero_point)
y      = table[requantize(acc * multiplier[o] + residual_term)]
or, in float32 and without the bias in acc, y = clamp(acc * multiplier[o] + bias[o], low, high)

Bias is int32 [O] (float32 for a FloatOutput), multiplier float32 [O], table uint8 [256]; a residual is uint8, of the
output's shape. Every weight is int8 [O, I / groups, ...]: outputs first, also where torch has the inputs first.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from fxquant.ops.integer.epilogue import finished
from fxquant.ops.op import op
from fxquant.qparams import FloatOutput, Requantize, Residual

Pair = tuple[int, int]
Triple = tuple[int, int, int]


@op(activations=("x", "residual"), weight="weight", bias="bias")
def int8_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    multiplier: Tensor,
    x_zero_point: int,
    output: Requantize | FloatOutput,
    stride: Pair,
    padding: tuple[int, int, int, int],
    dilation: Pair,
    groups: int,
    residual: Tensor | None = None,
    residual_params: Residual | None = None,
    table: Tensor | None = None,
) -> Tensor:
    """x uint8 [N, I, H, W], weight [O, I / groups, KH, KW] -> uint8 or float32. `padding`: top, left, bottom, right."""
    top, left, bottom, right = padding
    # float64 holds every int32 sum exactly.
    centered = F.pad(x.double() - x_zero_point, (left, right, top, bottom))
    acc = F.conv2d(centered, weight.double(), None, stride, 0, dilation, groups)
    return _finished(acc, bias, multiplier, output, residual, residual_params, table)


@op(activations=("x", "residual"), weight="weight", bias="bias")
def int8_conv3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    multiplier: Tensor,
    x_zero_point: int,
    output: Requantize | FloatOutput,
    stride: Triple,
    padding: Triple,
    dilation: Triple,
    groups: int,
    residual: Tensor | None = None,
    residual_params: Residual | None = None,
    table: Tensor | None = None,
) -> Tensor:
    """x uint8 [N, I, D, H, W], weight [O, I / groups, KD, KH, KW] -> uint8 or float32."""
    centered = x.double() - x_zero_point
    acc = F.conv3d(centered, weight.double(), None, stride, padding, dilation, groups)
    return _finished(acc, bias, multiplier, output, residual, residual_params, table)


@op(activations=("x", "residual"), weight="weight", bias="bias")
def int8_conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    multiplier: Tensor,
    x_zero_point: int,
    output: Requantize | FloatOutput,
    stride: Pair,
    padding: Pair,
    output_padding: Pair,
    groups: int,
    dilation: Pair,
    residual: Tensor | None = None,
    residual_params: Residual | None = None,
    table: Tensor | None = None,
) -> Tensor:
    """x uint8 [N, I, H, W], weight [O, I / groups, KH, KW] -> uint8 or float32."""
    centered, inputs_first = x.double() - x_zero_point, other_side_first(weight, groups).double()
    settings = (stride, padding, output_padding, groups, dilation)
    acc = F.conv_transpose2d(centered, inputs_first, None, *settings)
    return _finished(acc, bias, multiplier, output, residual, residual_params, table)


@op(activations=("x", "residual"), weight="weight", bias="bias")
def int8_conv_transpose3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    multiplier: Tensor,
    x_zero_point: int,
    output: Requantize | FloatOutput,
    stride: Triple,
    padding: Triple,
    output_padding: Triple,
    groups: int,
    dilation: Triple,
    residual: Tensor | None = None,
    residual_params: Residual | None = None,
    table: Tensor | None = None,
) -> Tensor:
    """x uint8 [N, I, D, H, W], weight [O, I / groups, KD, KH, KW] -> uint8 or float32."""
    centered, inputs_first = x.double() - x_zero_point, other_side_first(weight, groups).double()
    settings = (stride, padding, output_padding, groups, dilation)
    acc = F.conv_transpose3d(centered, inputs_first, None, *settings)
    return _finished(acc, bias, multiplier, output, residual, residual_params, table)


def other_side_first(weight: Tensor, groups: int) -> Tensor:
    """A weight [I, O / groups, ...] as [O, I / groups, ...], or the other way round."""
    by_group: Tensor = weight.unflatten(0, (groups, -1))
    return by_group.transpose(1, 2).flatten(0, 1)


def _finished(sums: Tensor, bias: Tensor, multiplier: Tensor, *rest: Any) -> Tensor:
    """Of sums [N, O, ...] in float64."""
    shape = (-1, *[1] * (sums.dim() - 2))
    return finished(sums, bias.reshape(shape), multiplier.reshape(shape), *rest)
