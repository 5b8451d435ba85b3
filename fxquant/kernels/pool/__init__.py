"""Pooling of uint8 images: max, average, and average to a given size. Padding never wins a max and adds 0 to a sum.

average  y = clamp(rne(float(sum(x - x_zero_point)) * (multiplier / divisor)) + zero_point, quant_min, quant_max)
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fxquant.errors import InputError
from fxquant.kernels import _kernels
from fxquant.kernels.library import torch_op, view
from fxquant.target import active_isa


def pooled_size(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """Outputs along an axis of `size`, as torch counts them: with ceil_mode the last window starts inside the image
    or its leading padding."""
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    outputs = (room + (stride - 1 if ceil_mode else 0)) // stride + 1
    if ceil_mode and (outputs - 1) * stride >= size + padding:
        outputs -= 1
    return outputs


def _pair(values: Sequence[int]) -> tuple[int, int]:
    return (values[0], values[0]) if len(values) == 1 else (values[0], values[1])


class Windows(NamedTuple):
    """A pool over images of one size: output height and width, then what the kernels take, along height and width."""

    output_size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]


def pool_windows(
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> Windows:
    """The windows over images of `size`, height and width. Raises InputError if there are none."""
    h, w = size
    kernel, stride, padding, dilation = _pair(kernel), _pair(stride or kernel), _pair(padding), _pair(dilation)
    if min(*kernel, *stride, *dilation) < 1:
        raise InputError(f"kernel, stride and dilation are at least 1: {kernel}, {stride}, {dilation}")
    if any(not 0 <= p <= k // 2 for p, k in zip(padding, kernel, strict=True)):
        raise InputError(f"the padding is at most half of the kernel: {padding}, {kernel}")
    oh = pooled_size(h, kernel[0], stride[0], padding[0], dilation[0], ceil_mode)
    ow = pooled_size(w, kernel[1], stride[1], padding[1], dilation[1], ceil_mode)
    if oh < 1 or ow < 1:
        raise InputError(f"an image of {h} x {w} gives no output: {oh} x {ow}")
    return Windows((oh, ow), kernel, stride, padding, dilation)


_cached_windows = functools.lru_cache(pool_windows)


def _images(x: Tensor, oh: int, ow: int) -> Tensor:
    size = (x.shape[0], x.shape[1], oh, ow)
    return torch.empty(size, dtype=torch.uint8, device=x.device, memory_format=torch.channels_last)


def _adaptive_size(output_size: Sequence[int]) -> tuple[int, int]:
    oh, ow = _pair(output_size)
    if oh < 1 or ow < 1:
        raise InputError(f"a size of {oh} x {ow} gives no output")
    return oh, ow


def _channels_last(x: Tensor) -> Tensor:
    if x.dtype != torch.uint8 or x.dim() != 4:
        raise InputError(f"x has to be uint8 [N, C, H, W], not {x.dtype} {tuple(x.shape)}")
    return x.contiguous(memory_format=torch.channels_last)


def _max_fake(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> Tensor:
    windows = pool_windows(x.shape[2:], kernel, stride, padding, dilation, ceil_mode)
    return _images(x, *windows.output_size)


@torch_op(
    "max_pool2d(Tensor x, int[] kernel, int[] stride, int[] padding, int[] dilation, bool ceil_mode) -> Tensor",
    _max_fake,
)
def max_pool2d(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> Tensor:
    """uint8 [N, C, H, W] -> uint8 channels_last [N, C, OH, OW], torch's semantics. An empty stride is the kernel.

    Raises InputError for another dtype or rank, or if there is no output.
    """
    x = _channels_last(x)
    windows = _cached_windows(x.shape[2:], tuple(kernel), tuple(stride), tuple(padding), tuple(dilation), ceil_mode)
    y = _images(x, *windows.output_size)
    _kernels.max_pool2d(torch.get_num_threads(), view(y), view(x), *windows[1:], active_isa())
    return y


def _avg_fake(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
    multiplier: float,
    x_zero_point: int,
    zero_point: int,
    quant_min: int,
    quant_max: int,
) -> Tensor:
    windows = pool_windows(x.shape[2:], kernel, stride, padding, (1,), ceil_mode)
    return _images(x, *windows.output_size)


@torch_op(
    "avg_pool2d(Tensor x, int[] kernel, int[] stride, int[] padding, bool ceil_mode, bool count_include_pad, "
    "int? divisor_override, float multiplier, int x_zero_point, int zero_point, int quant_min, int quant_max) "
    "-> Tensor",
    _avg_fake,
)
def avg_pool2d(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
    multiplier: float,
    x_zero_point: int,
    zero_point: int,
    quant_min: int,
    quant_max: int,
) -> Tensor:
    """uint8 [N, C, H, W] -> uint8 channels_last [N, C, OH, OW]; torch's windows and divisors, `multiplier` = s_x / s_y.

    An empty stride is the kernel. Raises InputError for another dtype or rank, a divisor of 0, if there is no output,
    or if a window is so large that its sum could overflow.
    """
    if divisor_override == 0:
        raise InputError("divisor_override is not 0")
    x = _channels_last(x)
    windows = _cached_windows(x.shape[2:], tuple(kernel), tuple(stride), tuple(padding), (1,), ceil_mode)
    y = _images(x, *windows.output_size)
    try:
        _kernels.avg_pool2d(
            torch.get_num_threads(),
            view(y),
            view(x),
            *windows[1:4],
            count_include_pad,
            divisor_override or 0,
            *(multiplier, x_zero_point, zero_point, quant_min, quant_max, active_isa()),
        )
    except ValueError as error:
        raise InputError(str(error)) from None
    return y


def _adaptive_fake(
    x: Tensor,
    output_size: Sequence[int],
    multiplier: float,
    x_zero_point: int,
    zero_point: int,
    quant_min: int,
    quant_max: int,
) -> Tensor:
    return _images(x, *_adaptive_size(output_size))


@torch_op(
    "adaptive_avg_pool2d(Tensor x, int[] output_size, float multiplier, int x_zero_point, int zero_point, "
    "int quant_min, int quant_max) -> Tensor",
    _adaptive_fake,
)
def adaptive_avg_pool2d(
    x: Tensor,
    output_size: Sequence[int],
    multiplier: float,
    x_zero_point: int,
    zero_point: int,
    quant_min: int,
    quant_max: int,
) -> Tensor:
    """uint8 [N, C, H, W] -> uint8 channels_last [N, C, *output_size]: output o of O averages the positions
    floor(o * size / O) .. ceil((o + 1) * size / O). Raises InputError as avg_pool2d does."""
    x = _channels_last(x)
    oh, ow = _adaptive_size(output_size)
    y = _images(x, oh, ow)
    try:
        arguments = (multiplier, x_zero_point, zero_point, quant_min, quant_max, active_isa())
        _kernels.adaptive_avg_pool2d(torch.get_num_threads(), view(y), view(x), *arguments)
    except ValueError as error:
        raise InputError(str(error)) from None
    return y
