"""linear of integers: with symmetric weights, the integer formula

acc[n] = sum over k of x[k] * w[n, k]  -  x_zero_point * sum over k of w[n, k]  +  bias[n]
y      = table[requantize(acc * multiplier[n] + residual_term)]
or, in float32 and without the bias in acc, y = clamp(acc * multiplier[n] + bias[n], low, high)

and, of float32 x that is quantized at run time, with the scale s[m] of its row m (qparams.dynamic_quantize),

y[m, n] = clamp(float(acc[m, n]) * s[m] * multiplier[n] + bias[n], low, high)   each operation rounded to float32

where bias[n] may be kept as an int32 at the scale s[m] * multiplier[n] of the sums (qparams.integer_bias), and y may
become gelu(y), gelu_tanh(y) or silu(y), and then y + residual,

and, of float32 x that stays so, with a scale for each output and group g of inputs,

y[n] = clamp(bias[n] + sum over g of (sum over k in g of x[k] * w[n, k]) * scale[n, g], low, high)

and, of integers, with such scales

total[n] = sum over g, in their order from 0.0 on, of float(acc[n, g]) * scale[n, g]
y        = requantize(total * multiplier + shift[n])                            each operation rounded to float32

and, of float32 x that is quantized at run time, row by row,

y[m, n]  = clamp(total[m, n] * s[m] + bias[n], low, high)
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from fxquant import qparams
from fxquant.ops.integer.epilogue import finished
from fxquant.ops.integer.floats import ACTIVATIONS
from fxquant.ops.op import op
from fxquant.qparams import (
    Dynamic,
    FloatOutput,
    Requantize,
    Residual,
    dynamic_qparams,
    dynamic_quantize,
    round_and_saturate,
)


@op(activations=("x", "residual"), weight="weight", bias="bias")
def int8_linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    multiplier: Tensor,
    x_zero_point: int,
    output: Requantize | FloatOutput,
    residual: Tensor | None = None,
    residual_params: Residual | None = None,
    table: Tensor | None = None,
) -> Tensor:
    """x uint8 [..., K], weight int8 [N, K], bias int32 [N], multiplier float32 [N] -> uint8 [..., N].

    `residual`: uint8, of the output's shape. `table`: uint8 [256]. With a FloatOutput neither of them, bias float32 and
    float32 [..., N].
    """
    # float64 holds every int32 sum exactly.
    sums = F.linear(x.double(), weight.double()) - x_zero_point * weight.double().sum(1)
    return finished(sums, bias, multiplier, output, residual, residual_params, table)


@op(activations=("x", "residual"), weight="weight", bias="bias")
def dynamic_linear(
    x: Tensor,
    weight: Tensor,
    multiplier: Tensor,
    bias: Tensor,
    dynamic: Dynamic,
    output: FloatOutput,
    integer_bias: bool | None = None,
    activation: str | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """x float32 [..., K], weight int8 [N, K], its scales `multiplier` and bias float32 [N] -> float32 [..., N].

    `activation`: a name of ACTIVATIONS. `residual`: float32, broadcast.
    """
    if integer_bias:
        bias = qparams.integer_bias(bias, dynamic_qparams(x, dynamic)[0] * multiplier)
    y = dynamic_product(x, weight, multiplier, bias, dynamic).clamp(output.low, output.high)
    if activation is not None:
        y = ACTIVATIONS[activation](y)
    return y if residual is None else y + residual


def dynamic_product(x: Tensor, weight: Tensor, multiplier: Tensor, bias: Tensor | float, dynamic: Dynamic) -> Tensor:
    """The same without bounds."""
    codes, scale, zero_point = dynamic_quantize(x, dynamic)
    acc = F.linear(codes.double() - zero_point, weight.double()).int()
    return acc.float() * scale * multiplier + bias


@op(weight="weight", bias="bias")
def weight_only_linear(x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None, output: FloatOutput) -> Tensor:
    """x float32 [..., K], weight int8 or float16 [N, K], scale float32 [N, groups], bias [N] -> float32 [..., N].

    Rounded once, where kernels round each sum: they differ by K * 2^-24 of the sum of the products' magnitudes at most.
    """
    real = weight.double() * scale.double().repeat_interleave(weight.shape[1] // scale.shape[1], 1)
    return F.linear(x.double(), real, None if bias is None else bias.double()).float().clamp(output.low, output.high)


@op(weight="weight", bias="shift")
def int8_linear_grouped(
    x: Tensor,
    weight: Tensor,
    scale: Tensor,
    shift: Tensor,
    multiplier: float,
    x_zero_point: int,
    output: Requantize,
) -> Tensor:
    """x uint8 [..., K], weight int8 [N, K], scale float32 [N, groups], shift float32 [N] -> uint8 [..., N].

    `multiplier` is s_x / s_y, and `shift` is the bias in units of s_y.
    """
    total = _grouped_product(x, x_zero_point, weight, scale)
    return round_and_saturate(total * multiplier + shift, *output).to(torch.uint8)


@op(weight="weight", bias="bias")
def dynamic_linear_grouped(
    x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor, dynamic: Dynamic, output: FloatOutput
) -> Tensor:
    """x float32 [..., K], weight int8 [N, K], scale float32 [N, groups], bias float32 [N] -> float32 [..., N].

    Scales of inputs are found by row, whatever `dynamic` says.
    """
    codes, row_scale, zero_point = dynamic_quantize(x, dynamic._replace(by_row=True))
    return (_grouped_product(codes, zero_point, weight, scale) * row_scale + bias).clamp(output.low, output.high)


def _grouped_product(x: Tensor, zero_point: int | Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """total above, float32 [..., N]."""
    groups = scale.shape[1]
    total = torch.zeros(*x.shape[:-1], weight.shape[0])
    for group, (inputs, weights) in enumerate(zip(x.chunk(groups, -1), weight.chunk(groups, 1), strict=True)):
        acc = F.linear(inputs.double() - zero_point, weights.double()).int()
        total = total + acc.float() * scale[:, group]
    return total
