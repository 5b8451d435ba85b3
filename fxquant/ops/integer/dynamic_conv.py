"""Convolutions of float32 x that is quantized at run time, s[n] the scale of its example n (qparams.dynamic_images):

acc[n, o] = sum over taps and channels of (q[n] - zero_point[n]) * weight[o]               (padding reads zero_point[n])
y[n, o]   = clamp(float(acc[n, o]) * s[n] * multiplier[o] + bias[o], low, high)      each operation rounded to float32

Every weight is int8 [O, I / groups, ...]: outputs first, also where torch has the inputs first. `multiplier` (its
scales) and `bias` are float32 [O].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from fxquant.ops.integer.conv import Pair, Triple, other_side_first
from fxquant.ops.op import op
from fxquant.qparams import Dynamic, FloatOutput, dynamic_images


@op(weight="weight", bias="bias")
def dynamic_conv2d(
    x: Tensor,
    weight: Tensor,
    multiplier: Tensor,
    bias: Tensor,
    dynamic: Dynamic,
    output: FloatOutput,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> Tensor:
    """x [N, I, H, W], weight [O, I / groups, KH, KW]."""
    settings = (stride, padding, dilation, groups)
    return _convolved(F.conv2d, x, weight, multiplier, bias, dynamic, output, *settings)


@op(weight="weight", bias="bias")
def dynamic_conv3d(
    x: Tensor,
    weight: Tensor,
    multiplier: Tensor,
    bias: Tensor,
    dynamic: Dynamic,
    output: FloatOutput,
    stride: Triple,
    padding: Triple,
    dilation: Triple,
    groups: int,
) -> Tensor:
    """x [N, I, D, H, W], weight [O, I / groups, KD, KH, KW]."""
    settings = (stride, padding, dilation, groups)
    return _convolved(F.conv3d, x, weight, multiplier, bias, dynamic, output, *settings)


@op(weight="weight", bias="bias")
def dynamic_conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    multiplier: Tensor,
    bias: Tensor,
    dynamic: Dynamic,
    output: FloatOutput,
    stride: Pair,
    padding: Pair,
    output_padding: Pair,
    groups: int,
    dilation: Pair,
) -> Tensor:
    """x [N, I, H, W], weight [O, I / groups, KH, KW]."""
    inputs_first, settings = other_side_first(weight, groups), (stride, padding, output_padding, groups, dilation)
    return _convolved(F.conv_transpose2d, x, inputs_first, multiplier, bias, dynamic, output, *settings)


@op(weight="weight", bias="bias")
def dynamic_conv_transpose3d(
    x: Tensor,
    weight: Tensor,
    multiplier: Tensor,
    bias: Tensor,
    dynamic: Dynamic,
    output: FloatOutput,
    stride: Triple,
    padding: Triple,
    output_padding: Triple,
    groups: int,
    dilation: Triple,
) -> Tensor:
    """x [N, I, D, H, W], weight [O, I / groups, KD, KH, KW]."""
    inputs_first, settings = other_side_first(weight, groups), (stride, padding, output_padding, groups, dilation)
    return _convolved(F.conv_transpose3d, x, inputs_first, multiplier, bias, dynamic, output, *settings)


def _convolved(
    conv: Callable[..., Tensor],
    x: Tensor,
    weight: Tensor,
    multiplier: Tensor,
    bias: Tensor,
    dynamic: Dynamic,
    output: FloatOutput,
    *settings: Any,
) -> Tensor:
    codes, scale, zero_point = dynamic_images(x, dynamic)
    # float64 holds every int32 sum exactly.
    acc = conv(codes.double() - zero_point, weight.double(), None, *settings).int()
    multiplier, bias = (each.reshape(-1, *[1] * (x.dim() - 2)) for each in (multiplier, bias))
    return (acc.float() * scale * multiplier + bias).clamp(output.low, output.high)
