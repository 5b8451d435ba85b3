"""Normalizations of integers. Sums of codes and of their squares are exact, so statistics are as good as float64:

    mean = sum / n;  variance = (n * sum of squares - sum^2) / n^2;  inverse = 1 / sqrt(variance + eps)    in float64
    y = requantize(((x - mean) * inverse) * gain + shift)                                                  in float32

with eps in units of s_x^2, gain and shift in units of s_y, each rounded to float32; the scale and zero point of x
cancel. rms_norm has x_zero_point for the mean and the mean square of x - x_zero_point for the variance.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fxquant.ops.op import op
from fxquant.qparams import Requantize, round_and_saturate


def _variance(x: Tensor, mean_sum: Tensor, count: int) -> Tensor:
    squares = (x * x).sum(-1, keepdim=True)
    return (count * squares - mean_sum * mean_sum).double() / float(count) ** 2


def _normalized(rows: Tensor, eps: float) -> Tensor:
    """Integer rows [..., n] around their mean, by their standard deviation, float32."""
    x, count = rows.long(), rows.shape[-1]
    total = x.sum(-1, keepdim=True)
    inverse = 1.0 / torch.sqrt(_variance(x, total, count) + eps)
    return (x.float() - (total.double() / count).float()) * inverse.float()


def _requantized(value: Tensor, output: Requantize) -> Tensor:
    return round_and_saturate(value, output.zero_point, output.quant_min, output.quant_max).to(torch.uint8)


@op()
def int8_layer_norm(
    x: Tensor, normalized_shape: tuple[int, ...], gain: Tensor, shift: Tensor, eps: float, output: Requantize
) -> Tensor:
    """uint8 [..., *normalized_shape] to uint8; gain and shift float32, of `normalized_shape`."""
    rows = x.flatten(x.dim() - len(normalized_shape))
    value = _normalized(rows, eps) * gain.flatten() + shift.flatten()
    return _requantized(value, output).reshape(x.shape)


@op()
def int8_rms_norm(
    x: Tensor, normalized_shape: tuple[int, ...], gain: Tensor, eps: float, x_zero_point: int, output: Requantize
) -> Tensor:
    """uint8 [..., *normalized_shape] to uint8; gain float32, of `normalized_shape`."""
    rows = x.flatten(x.dim() - len(normalized_shape)).long() - x_zero_point
    mean_square = (rows * rows).sum(-1, keepdim=True).double() / rows.shape[-1]
    value = rows.float() * (1.0 / torch.sqrt(mean_square + eps)).float() * gain.flatten()
    return _requantized(value, output).reshape(x.shape)


@op()
def int8_group_norm(x: Tensor, num_groups: int, gain: Tensor, shift: Tensor, eps: float, output: Requantize) -> Tensor:
    """uint8 [N, C, ...] to uint8; gain and shift float32 [C]."""
    normalized = _normalized(x.unflatten(1, (num_groups, -1)).flatten(2), eps).reshape(x.shape)
    shape = (-1, *[1] * (x.dim() - 2))
    return _requantized(normalized * gain.reshape(shape) + shift.reshape(shape), output)
