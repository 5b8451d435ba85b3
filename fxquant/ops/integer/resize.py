"""Interpolation between the pixels of a uint8 image, with torch's choice of source positions in float32.

    ratio      1 / scale if a scale is given (> 0), else in / out; with aligned corners (in - 1) / (out - 1)
    bilinear   at max(ratio * (i + 0.5) - 0.5, 0), with aligned corners at ratio * i:
               y = clamp(rne(l0h * (l0w * q00 + l1w * q01) + l1h * (l0w * q10 + l1w * q11)) + zero_point, 0, 255)
    nearest    at min(floor(ratio * i), in - 1)

q.. = float(x - zero_point) at the four pixels around the position, l. their weights. The output has the input's
qparams.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fxquant.ops.op import op
from fxquant.qparams import QParams, dequantize, round_and_saturate


class Resizing(NamedTuple):
    """To what size, and by what factors along H and W; a factor of 0 stands for the ratio of the sizes."""

    output_size: tuple[int, int]
    scale: tuple[float, float]


def resizing(x: Tensor, size: Sequence[int] | int | None, scale: Sequence[float] | None) -> Resizing:
    """What is asked of `x` [N, C, H, W]: without a size, as torch, floor(H * scale) by floor(W * scale).

    A size that the model computes may be one number for both H and W.
    """
    factors = (0.0, 0.0) if scale is None else (scale[0], scale[1])
    if isinstance(size, int):
        return Resizing((size, size), factors)
    if size is not None:
        return Resizing((size[0], size[1]), factors)
    return Resizing((int(x.shape[2] * factors[0]), int(x.shape[3] * factors[1])), factors)


class _Taps(NamedTuple):
    index0: Tensor
    index1: Tensor
    weight0: Tensor
    weight1: Tensor


def _quotient(a: float, b: float) -> Tensor:
    """a / b, rounded to float32."""
    return torch.tensor(a, dtype=torch.float32) / torch.tensor(b, dtype=torch.float32)


def _ratio(size: int, out: int, scale: float) -> Tensor:
    return torch.tensor(1.0 / scale, dtype=torch.float32) if scale > 0 else _quotient(size, out)


def _taps(size: int, out: int, scale: float, align_corners: bool) -> _Taps:
    i = torch.arange(out, dtype=torch.float32)
    if size == out:
        return _Taps(i.long(), i.long(), torch.ones(out), torch.zeros(out))
    if align_corners:
        position = i * (_quotient(size - 1, out - 1) if out > 1 else 0.0)
    else:
        position = ((i + 0.5) * _ratio(size, out, scale) - 0.5).clamp(min=0.0)
    index0 = position.long().clamp(max=size - 1)
    weight1 = (position - index0).clamp(max=1.0)
    return _Taps(index0, (index0 + 1).clamp(max=size - 1), 1.0 - weight1, weight1)


def _nearest(size: int, out: int, scale: float) -> Tensor:
    i = torch.arange(out)
    if size == out:
        return i
    if out == 2 * size:
        return i // 2
    return (i * _ratio(size, out, scale)).floor().long().clamp(max=size - 1)


@op()
def int8_interpolate_bilinear(
    x: Tensor, size: Sequence[int] | int | None, scale: Sequence[float] | None, align_corners: bool, x_zero_point: int
) -> Tensor:
    """uint8 [N, C, H, W] to [N, C, *size], or to H * scale rows and W * scale columns."""
    output_size, scale = resizing(x, size, scale)
    rows = _taps(x.shape[2], output_size[0], scale[0], align_corners)
    columns = _taps(x.shape[3], output_size[1], scale[1], align_corners)
    q = dequantize(x, QParams(1.0, x_zero_point))
    along_rows = columns.weight0 * q[..., columns.index0] + columns.weight1 * q[..., columns.index1]
    upper, lower = along_rows[:, :, rows.index0], along_rows[:, :, rows.index1]
    value = rows.weight0[:, None] * upper + rows.weight1[:, None] * lower
    return round_and_saturate(value, x_zero_point, 0, 255).to(torch.uint8)


@op()
def int8_interpolate_nearest(x: Tensor, size: Sequence[int] | int | None, scale: Sequence[float] | None) -> Tensor:
    """uint8 [N, C, H, W] to [N, C, *size], or to H * scale rows and W * scale columns."""
    output_size, scale = resizing(x, size, scale)
    rows = _nearest(x.shape[2], output_size[0], scale[0])
    columns = _nearest(x.shape[3], output_size[1], scale[1])
    return x[:, :, rows][..., columns]
