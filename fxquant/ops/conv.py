"""Convolutions.

    conv   y[n, o, i, …] = bias[o] + sum over c, k, … of weight[o, c, k, …] * x[n, c, i*stride + k*dilation - pad, …]

Padding is symmetric, one number a dimension. padding="same" with an odd total, and every padding_mode other than zeros,
become a `pad` in front.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fxquant.ops.arguments import expand, shape_of, takes_rank
from fxquant.ops.op import op, spelling
from fxquant.ops.shape import pad

Sizes = tuple[int, ...]


@op(weight="weight", bias="bias", kernel=True, dynamic=True, limits=takes_rank(3))
def conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = (1,),
    padding: Sizes = (0,),
    dilation: Sizes = (1,),
    groups: int = 1,
) -> Tensor:
    """x [N, C, L], weight [O, C/groups, K]."""
    return F.conv1d(x, weight, bias, stride, padding, dilation, groups)


@op(weight="weight", bias="bias", kernel=True, dynamic=True, limits=takes_rank(4))
def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = (1, 1),
    padding: Sizes = (0, 0),
    dilation: Sizes = (1, 1),
    groups: int = 1,
) -> Tensor:
    """x [N, C, H, W], weight [O, C/groups, KH, KW]."""
    return F.conv2d(x, weight, bias, stride, padding, dilation, groups)


@op(weight="weight", bias="bias", kernel=True, dynamic=True, limits=takes_rank(5))
def conv3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = (1, 1, 1),
    padding: Sizes = (0, 0, 0),
    dilation: Sizes = (1, 1, 1),
    groups: int = 1,
) -> Tensor:
    """x [N, C, D, H, W], weight [O, C/groups, KD, KH, KW]."""
    return F.conv3d(x, weight, bias, stride, padding, dilation, groups)


@op(weight="weight", bias="bias", kernel=True, dynamic=True, limits=takes_rank(3))
def conv_transpose1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = (1,),
    padding: Sizes = (0,),
    output_padding: Sizes = (0,),
    groups: int = 1,
    dilation: Sizes = (1,),
) -> Tensor:
    """x [N, C, L], weight [C, O/groups, K]: input channels come first."""
    return F.conv_transpose1d(x, weight, bias, stride, padding, output_padding, groups, dilation)


@op(weight="weight", bias="bias", kernel=True, dynamic=True, limits=takes_rank(4))
def conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = (1, 1),
    padding: Sizes = (0, 0),
    output_padding: Sizes = (0, 0),
    groups: int = 1,
    dilation: Sizes = (1, 1),
) -> Tensor:
    """x [N, C, H, W], weight [C, O/groups, KH, KW]: input channels come first."""
    return F.conv_transpose2d(x, weight, bias, stride, padding, output_padding, groups, dilation)


@op(weight="weight", bias="bias", kernel=True, dynamic=True, limits=takes_rank(5))
def conv_transpose3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = (1, 1, 1),
    padding: Sizes = (0, 0, 0),
    output_padding: Sizes = (0, 0, 0),
    groups: int = 1,
    dilation: Sizes = (1, 1, 1),
) -> Tensor:
    """x [N, C, D, H, W], weight [C, O/groups, KD, KH, KW]: input channels come first."""
    return F.conv_transpose3d(x, weight, bias, stride, padding, output_padding, groups, dilation)


def _spell(conv: Callable[..., Any], dims: int, function: Any, module: type[nn.Module]) -> None:
    @spelling(function)
    def call(
        input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
    ) -> Any:
        stride, dilation = expand(stride, dims), expand(dilation, dims)
        kernel = shape_of(weight)[2:] if isinstance(padding, str) else ()
        input, padding = _pad_apart(input, _both_sides(padding, kernel, dilation, dims), "zeros")
        return conv(input, weight, bias, stride, padding, dilation, groups)

    @spelling(module)
    def call_module(m: Any, input: Any) -> Any:
        sides = _both_sides(m.padding, m.kernel_size, m.dilation, dims)
        input, padding = _pad_apart(input, sides, m.padding_mode)
        return conv(input, m.weight, m.bias, m.stride, padding, m.dilation, m.groups)


def _both_sides(padding: Any, kernel: Sizes, dilation: Sizes, dims: int) -> list[tuple[int, int]]:
    """What is added before and after each dimension."""
    if padding == "same":
        if len(kernel) != dims:
            raise TypeError("padding='same' needs a weight of known shape")
        totals = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        return [(total // 2, total - total // 2) for total in totals]
    return [(p, p) for p in expand(0 if padding == "valid" else padding, dims)]


def _pad_apart(x: Any, sides: list[tuple[int, int]], mode: str) -> tuple[Any, Sizes]:
    """`x`, padded if a convolution cannot do it itself, and the padding left to the convolution."""
    if mode == "zeros" and all(before == after for before, after in sides):
        return x, tuple(before for before, _ in sides)
    flat = tuple(amount for side in reversed(sides) for amount in side)
    return pad(x, flat, "constant" if mode == "zeros" else mode, 0.0), (0,) * len(sides)


def _spell_transpose(conv: Callable[..., Any], dims: int, function: Any, module: type[nn.Module]) -> None:
    @spelling(function)
    def call(
        input: Any,
        weight: Any,
        bias: Any = None,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        dilation: Any = 1,
    ) -> Any:
        sizes = (expand(size, dims) for size in (stride, padding, output_padding))
        return conv(input, weight, bias, *sizes, groups, expand(dilation, dims))

    @spelling(module)
    def call_module(m: Any, input: Any, output_size: Any = None) -> Any:
        if output_size is not None:
            raise TypeError("its output_size is given at the call")
        return conv(input, m.weight, m.bias, m.stride, m.padding, m.output_padding, m.groups, m.dilation)


_spell(conv1d, 1, torch.conv1d, nn.Conv1d)
_spell(conv2d, 2, torch.conv2d, nn.Conv2d)
_spell(conv3d, 3, torch.conv3d, nn.Conv3d)
_spell_transpose(conv_transpose1d, 1, torch.conv_transpose1d, nn.ConvTranspose1d)
_spell_transpose(conv_transpose2d, 2, torch.conv_transpose2d, nn.ConvTranspose2d)
_spell_transpose(conv_transpose3d, 3, torch.conv_transpose3d, nn.ConvTranspose3d)
