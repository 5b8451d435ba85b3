"""Arithmetic of two uint8 tensors with qparams of their own, with broadcasting."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fxquant.errors import InputError
from fxquant.kernels import _kernels
from fxquant.kernels.library import like, torch_op, view
from fxquant.target import active_isa


def _broadcast(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    if a.shape == b.shape:
        return a, b
    try:
        wide_a, wide_b = torch.broadcast_tensors(a, b)
    except RuntimeError as error:
        raise InputError(f"shapes {list(a.shape)} and {list(b.shape)} do not broadcast") from error
    return wide_a, wide_b


def _result(a: Tensor, b: Tensor, shape: torch.Size) -> Tensor:
    """An empty tensor of `shape` in the memory format of the larger operand."""
    larger = a if a.numel() >= b.numel() else b
    if larger.shape == shape:
        return like(larger, torch.uint8)
    channels_last = larger.dim() == len(shape) == 4 and larger.is_contiguous(memory_format=torch.channels_last)
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    return torch.empty(shape, dtype=torch.uint8, device=larger.device, memory_format=memory_format)


def _operands(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Both operands expanded to the shape of the result, and the empty result."""
    if a.dtype is not torch.uint8 or b.dtype is not torch.uint8:
        raise InputError(f"int8 arithmetic takes uint8 tensors, not {a.dtype} and {b.dtype}")
    wide_a, wide_b = _broadcast(a, b)
    return wide_a, wide_b, _result(a, b, wide_a.shape)


def _fake(a: Tensor, b: Tensor, *_: float) -> Tensor:
    return _operands(a, b)[2]


_BOTH_SCALED = (
    "(Tensor a, Tensor b, float a_multiplier, float b_multiplier, int a_zero_point, int b_zero_point, "
    "int zero_point, int quant_min, int quant_max) -> Tensor"
)
_SCALED = (
    "(Tensor a, Tensor b, float multiplier, int a_zero_point, int b_zero_point, int zero_point, int quant_min, "
    "int quant_max) -> Tensor"
)


def _run(kernel: Callable[..., None], a: Tensor, b: Tensor, *arguments: float) -> Tensor:
    a, b, y = _operands(a, b)
    kernel(torch.get_num_threads(), view(y), view(a), view(b), *arguments, active_isa())
    return y


@torch_op("add" + _BOTH_SCALED, _fake)
def add(a: Tensor, b: Tensor, *arguments: float) -> Tensor:
    """clamp(rne((a - a_zero_point) * a_multiplier + (b - b_zero_point) * b_multiplier) + zero_point) in float32.

    uint8 tensors of any rank that broadcast; the result has the memory format of the larger one. Raises InputError for
    other dtypes and for shapes that do not broadcast. `arguments`: a_multiplier, b_multiplier, a_zero_point,
    b_zero_point, zero_point, quant_min, quant_max.
    """
    return _run(_kernels.add, a, b, *arguments)


@torch_op("maximum" + _BOTH_SCALED, _fake)
def maximum(a: Tensor, b: Tensor, *arguments: float) -> Tensor:
    """As `add`, with the larger product in place of the sum."""
    return _run(_kernels.maximum, a, b, *arguments)


@torch_op("minimum" + _BOTH_SCALED, _fake)
def minimum(a: Tensor, b: Tensor, *arguments: float) -> Tensor:
    """As `add`, with the smaller product in place of the sum."""
    return _run(_kernels.minimum, a, b, *arguments)


@torch_op("mul" + _SCALED, _fake)
def mul(a: Tensor, b: Tensor, *arguments: float) -> Tensor:
    """clamp(rne((a - a_zero_point) * (b - b_zero_point) * multiplier) + zero_point), the product rounded to float32.

    Shapes, memory format and errors as of `add`. `arguments`: multiplier, a_zero_point, b_zero_point, zero_point,
    quant_min, quant_max.
    """
    return _run(_kernels.mul, a, b, *arguments)


@torch_op("div" + _SCALED, _fake)
def div(a: Tensor, b: Tensor, *arguments: float) -> Tensor:
    """clamp(rne((a - a_zero_point) / (b - b_zero_point) * multiplier) + zero_point); by 0 it saturates, 0 / 0 gives
    quant_min.

    Arguments, shapes, memory format and errors as of `mul`.
    """
    return _run(_kernels.div, a, b, *arguments)
