"""Normalizations of uint8 tensors by the statistics of their own elements."""

from __future__ import annotations

import torch
from torch import Tensor

from fxquant.errors import InputError
from fxquant.kernels import _kernels
from fxquant.kernels.library import torch_op, view
from fxquant.kernels.matmul import scratch
from fxquant.target import active_isa


def _check_parameters(weight: Tensor, bias: Tensor | None) -> None:
    for each in (weight, weight if bias is None else bias):
        if each.dtype is not torch.float32 or each.shape != weight.shape or not each.is_contiguous():
            raise InputError("weight and bias are contiguous float32 tensors of the same shape")


def _rows(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`x` with the dimensions that `weight` has as one, its elements side by side."""
    _check_parameters(weight, bias)
    dims = weight.dim()
    if x.dtype is not torch.uint8 or x.dim() < dims or x.shape[x.dim() - dims :] != weight.shape:
        raise InputError(
            f"layer_norm over {list(weight.shape)} takes a uint8 tensor that ends so, not {x.dtype} of {list(x.shape)}"
        )
    return x.contiguous().flatten(x.dim() - dims)


def _dense(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.empty_like(_rows(x, weight, bias)).reshape(x.shape)


@torch_op(
    "layer_norm(Tensor x, Tensor weight, Tensor? bias, float eps, int x_zero_point, int zero_point, int quant_min, "
    "int quant_max) -> Tensor",
    lambda x, weight, bias, *_: _dense(x, weight, bias),
)
def layer_norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    eps: float,
    x_zero_point: int,
    zero_point: int,
    quant_min: int,
    quant_max: int,
) -> Tensor:
    """Of uint8 `x` [..., *weight.shape], contiguous; without a bias rms_norm, around x_zero_point.

    As of ops.int8_layer_norm and ops.int8_rms_norm: eps is in units of s_x^2, weight and bias (contiguous float32) in
    units of s_y. Raises InputError for another dtype or shape.
    """
    rows = _rows(x, weight, bias)
    y = torch.empty_like(rows)
    if y.numel() == 0:
        return y.reshape(x.shape)
    _kernels.layer_norm(
        *(torch.get_num_threads(), view(y), view(rows), weight.data_ptr(), 0 if bias is None else bias.data_ptr()),
        *(eps, x_zero_point, zero_point, quant_min, quant_max, active_isa()),
    )
    return y.reshape(x.shape)


def channels_last(x: Tensor) -> Tensor:
    """`x` [N, C, ...] with neighbouring channels side by side: itself, or a copy."""
    if x.stride(1) == 1 or x.shape[1] <= 1:
        return x
    return x.movedim(1, -1).contiguous().movedim(-1, 1)


def _normalized(x: Tensor, groups: int, weight: Tensor, bias: Tensor) -> Tensor:
    _check_parameters(weight, bias)
    if x.dtype is not torch.uint8 or x.dim() < 2 or groups < 1 or x.shape[1] % groups != 0:
        raise InputError(
            f"group_norm of {groups} groups takes a uint8 tensor [N, C, ...], not {x.dtype} of {list(x.shape)}"
        )
    if weight.shape != x.shape[1:2]:
        raise InputError(f"{weight.numel()} weights are not those of {x.shape[1]} channels")
    n, c, *positions = x.shape
    return x.new_empty((n, *positions, c)).movedim(-1, 1)


@torch_op(
    "group_norm(Tensor x, int groups, Tensor weight, Tensor bias, float eps, int zero_point, int quant_min, "
    "int quant_max) -> Tensor",
    lambda x, groups, weight, bias, *_: _normalized(x, groups, weight, bias),
)
def group_norm(
    x: Tensor, groups: int, weight: Tensor, bias: Tensor, eps: float, zero_point: int, quant_min: int, quant_max: int
) -> Tensor:
    """Of uint8 `x` [N, C, ...], channels last, as of ops.int8_group_norm; weight and bias are contiguous float32 [C].

    Raises InputError for another dtype, and if C cannot be divided into the groups.
    """
    y, x = _normalized(x, groups, weight, bias), channels_last(x)
    if y.numel() == 0:
        return y
    memory = scratch(_kernels.group_norm_scratch_size(x.shape[1]))
    _kernels.group_norm(
        *(torch.get_num_threads(), view(y.movedim(1, -1)), view(x.movedim(1, -1)), view(memory), groups),
        *(weight.data_ptr(), bias.data_ptr(), eps, zero_point, quant_min, quant_max, active_isa()),
    )
    return y
