"""Pools of integers:

max        y = max over the window; padding never wins
average    y = requantize(sum over the window of (x - x_zero_point) * (multiplier / divisor)); padding adds 0
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from fxquant.ops.op import op
from fxquant.qparams import Requantize, requantize

Pair = tuple[int, int]


@op()
def int8_max_pool2d(
    x: Tensor, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> Tensor:
    """uint8 [N, C, H, W] -> uint8 [N, C, OH, OW]."""
    return F.max_pool2d(x.float(), kernel_size, stride, padding, dilation, ceil_mode).to(torch.uint8)


@op()
def int8_avg_pool2d(
    x: Tensor,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
    multiplier: float,
    x_zero_point: int,
    output: Requantize,
) -> Tensor:
    """uint8 [N, C, H, W] -> uint8 [N, C, OH, OW]; multiplier = s_x / s_y."""
    centered = x.double() - x_zero_point
    window = (kernel_size, stride, padding, ceil_mode)
    total = F.avg_pool2d(centered, *window, divisor_override=1)
    # An average of ones with the divisor of one window is (its size) / divisor.
    ones = torch.ones_like(centered)
    if divisor_override is not None:
        divisor = torch.full_like(total, divisor_override)
    else:
        divisor = F.avg_pool2d(ones, *window, divisor_override=1) / F.avg_pool2d(ones, *window, count_include_pad)
    return _average(total, divisor, multiplier, output)


@op()
def int8_adaptive_avg_pool2d(
    x: Tensor, output_size: tuple[int | None, int | None], multiplier: float, x_zero_point: int, output: Requantize
) -> Tensor:
    """uint8 [N, C, H, W] -> uint8 [N, C, *output_size], None keeps the input's size; multiplier = s_x / s_y."""
    target = known_size(x, output_size)
    rows, columns = (_windows(size, out) for size, out in zip(x.shape[2:], target, strict=True))
    total = rows @ (x.double() - x_zero_point) @ columns.T
    divisor = rows.sum(1)[:, None] * columns.sum(1)
    return _average(total, divisor, multiplier, output)


def known_size(x: Tensor, output_size: Sequence[int | None]) -> list[int]:
    """`output_size` with the input's size in place of None."""
    return [size if out is None else out for size, out in zip(x.shape[2:], output_size, strict=False)]


def _windows(size: int, out: int) -> Tensor:
    """[out, size]: 1 where a position is in window i, from floor(i * size / out) up to ceil((i + 1) * size / out)."""
    i, position = torch.arange(out)[:, None], torch.arange(size)
    return ((position >= i * size // out) & (position < -(-(i + 1) * size // out))).double()


def _average(total: Tensor, divisor: Tensor, multiplier: float, output: Requantize) -> Tensor:
    step = torch.tensor(multiplier, dtype=torch.float32) / torch.round(divisor).float()
    return requantize(torch.round(total).int(), step, output)
