"""Pools of integers:

max        y = max over the window; padding never wins
average    y = requantize(sum over the window of (x - x_zero_point) * (multiplier / divisor)); padding adds 0
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fxquant.ops.op import op
from fxquant.qparams import Requantize, requantize

Pair = tuple[int, int]
Triple = tuple[int, int, int]


@op()
def int8_max_pool2d(
    x: Tensor, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> Tensor:
    """uint8 [N, C, H, W] -> uint8 [N, C, OH, OW]."""
    return F.max_pool2d(x.float(), kernel_size, stride, padding, dilation, ceil_mode).to(torch.uint8)


@op()
def int8_max_pool3d(
    x: Tensor, kernel_size: Triple, stride: Triple, padding: Triple, dilation: Triple, ceil_mode: bool
) -> Tensor:
    """uint8 [N, C, D, H, W] -> uint8 [N, C, OD, OH, OW]."""
    return F.max_pool3d(x.float(), kernel_size, stride, padding, dilation, ceil_mode).to(torch.uint8)


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
    window = (kernel_size, stride, padding, ceil_mode)
    total, divisor = _windowed(F.avg_pool2d, x.double() - x_zero_point, window, count_include_pad, divisor_override)
    return _average(total, divisor, multiplier, output)


@op()
def int8_avg_pool3d(
    x: Tensor,
    kernel_size: Triple,
    stride: Triple,
    padding: Triple,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
    multiplier: float,
    x_zero_point: int,
    output: Requantize,
) -> Tensor:
    """uint8 [N, C, D, H, W] -> uint8 [N, C, OD, OH, OW]; multiplier = s_x / s_y."""
    window = (kernel_size, stride, padding, ceil_mode)
    total, divisor = _windowed(F.avg_pool3d, x.double() - x_zero_point, window, count_include_pad, divisor_override)
    return _average(total, divisor, multiplier, output)


def _windowed(
    pool: Callable[..., Tensor], centered: Tensor, window: tuple[Any, ...], include: bool, divisor: int | None
) -> tuple[Tensor, Tensor]:
    """The sum over each window, and what it is divided by."""
    total = pool(centered, *window, divisor_override=1)
    if divisor is not None:
        return total, torch.full_like(total, divisor)
    # An average of ones with the divisor of one window is (its size) / divisor.
    ones = torch.ones_like(centered)
    return total, pool(ones, *window, divisor_override=1) / pool(ones, *window, include)


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


@op()
def int8_adaptive_avg_pool3d(
    x: Tensor, output_size: tuple[int | None, ...], multiplier: float, x_zero_point: int, output: Requantize
) -> Tensor:
    """uint8 [N, C, D, H, W] -> uint8 [N, C, *output_size], None keeps the input's size; multiplier = s_x / s_y."""
    target = known_size(x, output_size)
    windows = [_windows(size, out) for size, out in zip(x.shape[2:], target, strict=True)]
    total = torch.einsum("ncdhw,pd,qh,rw->ncpqr", x.double() - x_zero_point, *windows)
    divisor = torch.einsum("p,q,r->pqr", *(window.sum(1) for window in windows))
    return _average(total, divisor, multiplier, output)


@op()
def int8_adaptive_max_pool2d(x: Tensor, output_size: tuple[int | None, ...]) -> Tensor:
    """uint8 [N, C, H, W] -> uint8 [N, C, *output_size], None keeps the input's size."""
    return F.adaptive_max_pool2d(x.float(), known_size(x, output_size)).to(torch.uint8)


@op()
def int8_adaptive_max_pool3d(x: Tensor, output_size: tuple[int | None, ...]) -> Tensor:
    """uint8 [N, C, D, H, W] -> uint8 [N, C, *output_size], None keeps the input's size."""
    return F.adaptive_max_pool3d(x.float(), known_size(x, output_size)).to(torch.uint8)


def known_size(x: Tensor, output_size: Sequence[int | None]) -> list[int]:
    """`output_size` with the input's size in place of None."""
    return [size if out is None else out for size, out in zip(x.shape[2:], output_size, strict=False)]


def adaptive_window(i: int, size: int, out: int) -> tuple[int, int]:
    """Where window `i` of `out` begins, and where it ends."""
    return i * size // out, -(-(i + 1) * size // out)


def _windows(size: int, out: int) -> Tensor:
    """[out, size]: 1 where a position is in window i."""
    windows = torch.zeros(out, size, dtype=torch.float64)
    for i in range(out):
        begin, end = adaptive_window(i, size, out)
        windows[i, begin:end] = 1
    return windows


def _average(total: Tensor, divisor: Tensor, multiplier: float, output: Requantize) -> Tensor:
    step = torch.tensor(multiplier, dtype=torch.float32) / torch.round(divisor).float()
    return requantize(torch.round(total).int(), step, output)
