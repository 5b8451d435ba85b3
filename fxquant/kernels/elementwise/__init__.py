"""add and mul of two uint8 tensors with qparams of their own, with broadcasting."""

from __future__ import annotations

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
        raise InputError(f"int8 add and mul take uint8 tensors, not {a.dtype} and {b.dtype}")
    wide_a, wide_b = _broadcast(a, b)
    return wide_a, wide_b, _result(a, b, wide_a.shape)


def _fake(a: Tensor, b: Tensor, *_: float) -> Tensor:
    return _operands(a, b)[2]


@torch_op(
    "add(Tensor a, Tensor b, float a_multiplier, float b_multiplier, int a_zero_point, int b_zero_point, "
    "int zero_point, int quant_min, int quant_max) -> Tensor",
    _fake,
)
def add(
    a: Tensor,
    b: Tensor,
    a_multiplier: float,
    b_multiplier: float,
    a_zero_point: int,
    b_zero_point: int,
    zero_point: int,
    quant_min: int,
    quant_max: int,
) -> Tensor:
    """clamp(rne((a - a_zero_point) * a_multiplier + (b - b_zero_point) * b_multiplier) + zero_point) in float32.

    uint8 tensors of any rank that broadcast; the result has the memory format of the larger one. Raises InputError for
    other dtypes and for shapes that do not broadcast.
    """
    a, b, y = _operands(a, b)
    arguments = (a_multiplier, b_multiplier, a_zero_point, b_zero_point, zero_point, quant_min, quant_max)
    _kernels.add(torch.get_num_threads(), view(y), view(a), view(b), *arguments, active_isa())
    return y


@torch_op(
    "mul(Tensor a, Tensor b, float multiplier, int a_zero_point, int b_zero_point, int zero_point, int quant_min, "
    "int quant_max) -> Tensor",
    _fake,
)
def mul(
    a: Tensor,
    b: Tensor,
    multiplier: float,
    a_zero_point: int,
    b_zero_point: int,
    zero_point: int,
    quant_min: int,
    quant_max: int,
) -> Tensor:
    """clamp(rne((a - a_zero_point) * (b - b_zero_point) * multiplier) + zero_point), the product rounded to float32.

    Shapes, memory format and errors as of `add`.
    """
    a, b, y = _operands(a, b)
    arguments = (multiplier, a_zero_point, b_zero_point, zero_point, quant_min, quant_max)
    _kernels.mul(torch.get_num_threads(), view(y), view(a), view(b), *arguments, active_isa())
    return y
