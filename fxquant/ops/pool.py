"""Pooling and means over dimensions.

As in torch, max-pooling never sees its padding, while avg_pool counts it unless count_include_pad=False.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fxquant.ops.arguments import Limits, axes, expand, rank, takes_rank
from fxquant.ops.op import Output, op, spelling
from fxquant.ops.shape import permute

Sizes = tuple[int, ...]


@op(output=Output.SAME, kernel=True, limits=takes_rank(3))
def max_pool1d(
    x: Tensor, kernel_size: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, ceil_mode: bool = False
) -> Tensor:
    """x [N, C, L]."""
    return F.max_pool1d(x, kernel_size, stride, padding, dilation, ceil_mode)


@op(output=Output.SAME, kernel=True, limits=takes_rank(4))
def max_pool2d(
    x: Tensor, kernel_size: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, ceil_mode: bool = False
) -> Tensor:
    """x [N, C, H, W]."""
    return F.max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode)


@op(output=Output.SAME, kernel=True, limits=takes_rank(5))
def max_pool3d(
    x: Tensor, kernel_size: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, ceil_mode: bool = False
) -> Tensor:
    """x [N, C, D, H, W]."""
    return F.max_pool3d(x, kernel_size, stride, padding, dilation, ceil_mode)


@op(kernel=True, limits=takes_rank(3))
def avg_pool1d(
    x: Tensor,
    kernel_size: Sizes,
    stride: Sizes,
    padding: Sizes,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """x [N, C, L]."""
    return F.avg_pool1d(x, kernel_size, stride, padding, ceil_mode, count_include_pad)


@op(kernel=True, limits=takes_rank(4))
def avg_pool2d(
    x: Tensor,
    kernel_size: Sizes,
    stride: Sizes,
    padding: Sizes,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """x [N, C, H, W]."""
    return F.avg_pool2d(x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


@op(kernel=True, limits=takes_rank(5))
def avg_pool3d(
    x: Tensor,
    kernel_size: Sizes,
    stride: Sizes,
    padding: Sizes,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """x [N, C, D, H, W]."""
    return F.avg_pool3d(x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


@op(kernel=True, limits=takes_rank(3))
def adaptive_avg_pool1d(x: Tensor, output_size: Sizes) -> Tensor:
    """x [N, C, L] -> [N, C, output_size]."""
    return F.adaptive_avg_pool1d(x, output_size)


@op(kernel=True, limits=takes_rank(4))
def adaptive_avg_pool2d(x: Tensor, output_size: tuple[int | None, int | None]) -> Tensor:
    """x [N, C, H, W] -> [N, C, *output_size]; None keeps the input's size."""
    return F.adaptive_avg_pool2d(x, output_size)


@op(kernel=True, limits=takes_rank(5))
def adaptive_avg_pool3d(x: Tensor, output_size: tuple[int | None, ...]) -> Tensor:
    """x [N, C, D, H, W] -> [N, C, *output_size]; None keeps the input's size."""
    return F.adaptive_avg_pool3d(x, output_size)  # type: ignore[arg-type]


@op(output=Output.SAME, kernel=True, limits=takes_rank(3))
def adaptive_max_pool1d(x: Tensor, output_size: Sizes) -> Tensor:
    """x [N, C, L] -> [N, C, output_size]."""
    return F.adaptive_max_pool1d(x, output_size)


@op(output=Output.SAME, kernel=True, limits=takes_rank(4))
def adaptive_max_pool2d(x: Tensor, output_size: tuple[int | None, ...]) -> Tensor:
    """x [N, C, H, W] -> [N, C, *output_size]; None keeps the input's size."""
    return F.adaptive_max_pool2d(x, output_size)  # type: ignore[arg-type]


@op(output=Output.SAME, kernel=True, limits=takes_rank(5))
def adaptive_max_pool3d(x: Tensor, output_size: tuple[int | None, ...]) -> Tensor:
    """x [N, C, D, H, W] -> [N, C, *output_size]; None keeps the input's size."""
    return F.adaptive_max_pool3d(x, output_size)  # type: ignore[arg-type]


def _spatial_only(arguments: Limits) -> str | None:
    shape, dim = arguments["x"].meta.get("shape"), tuple(arguments["dim"])
    if shape is not None and (len(shape) not in (3, 4, 5) or dim != tuple(range(2, len(shape)))):
        return f"it is a mean over dimensions {dim} of {len(shape)}; the kernel takes all spatial ones of 3, 4 or 5"
    return None


@op(kernel=True, limits=_spatial_only)
def mean(x: Tensor, dim: Sizes, keepdim: bool = False) -> Tensor:
    """The mean over the dimensions `dim`, ascending."""
    return torch.mean(x, dim, keepdim)


def _window(kernel_size: Any, stride: Any, padding: Any, dims: int) -> tuple[Sizes, Sizes, Sizes]:
    """As in torch, the stride is the kernel's size unless given."""
    return expand(kernel_size, dims), expand(stride or kernel_size, dims), expand(padding, dims)


def _spell_max(pool: Callable[..., Any], dims: int, module: type[nn.Module], *functions: Any) -> None:
    @spelling(*functions)
    def call(
        input: Any,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Any:
        if return_indices:
            raise TypeError("it returns indices")
        window = _window(kernel_size, stride, padding, dims)
        return pool(input, *window, expand(dilation, dims), ceil_mode)

    @spelling(module)
    def call_module(m: Any, input: Any) -> Any:
        return call(input, m.kernel_size, m.stride, m.padding, m.dilation, m.ceil_mode, m.return_indices)


_spell_max(max_pool1d, 1, nn.MaxPool1d, F.max_pool1d, torch.max_pool1d)
_spell_max(max_pool2d, 2, nn.MaxPool2d, F.max_pool2d, torch.max_pool2d)
_spell_max(max_pool3d, 3, nn.MaxPool3d, F.max_pool3d, torch.max_pool3d)


@spelling(F.avg_pool1d)
def _avg_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    kernel, stride, padding = _window(kernel_size, stride, padding, 1)
    return avg_pool1d(input, kernel, stride, padding, ceil_mode, count_include_pad)


@spelling(nn.AvgPool1d)
def _avg_pool1d_module(m: Any, input: Any) -> Any:
    return _avg_pool1d(input, m.kernel_size, m.stride, m.padding, m.ceil_mode, m.count_include_pad)


def _spell_avg(pool: Callable[..., Any], dims: int, function: Any, module: type[nn.Module]) -> None:
    @spelling(function)
    def call(
        input: Any,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Any:
        window = _window(kernel_size, stride, padding, dims)
        return pool(input, *window, ceil_mode, count_include_pad, divisor_override)

    @spelling(module)
    def call_module(m: Any, input: Any) -> Any:
        window = (m.kernel_size, m.stride, m.padding)
        return call(input, *window, m.ceil_mode, m.count_include_pad, m.divisor_override)


_spell_avg(avg_pool2d, 2, F.avg_pool2d, nn.AvgPool2d)
_spell_avg(avg_pool3d, 3, F.avg_pool3d, nn.AvgPool3d)


def _spell_adaptive(pool: Callable[..., Any], dims: int, module: type[nn.Module], *functions: Any) -> None:
    @spelling(*functions)
    def call(input: Any, output_size: Any, return_indices: bool = False) -> Any:
        if return_indices:
            raise TypeError("it returns indices")
        return pool(input, expand(output_size, dims))

    @spelling(module)
    def call_module(m: Any, input: Any) -> Any:
        return call(input, m.output_size, getattr(m, "return_indices", False))


_spell_adaptive(adaptive_avg_pool1d, 1, nn.AdaptiveAvgPool1d, F.adaptive_avg_pool1d)
_spell_adaptive(adaptive_avg_pool2d, 2, nn.AdaptiveAvgPool2d, F.adaptive_avg_pool2d)
_spell_adaptive(adaptive_avg_pool3d, 3, nn.AdaptiveAvgPool3d, F.adaptive_avg_pool3d)
_spell_adaptive(adaptive_max_pool1d, 1, nn.AdaptiveMaxPool1d, F.adaptive_max_pool1d)
_spell_adaptive(adaptive_max_pool2d, 2, nn.AdaptiveMaxPool2d, F.adaptive_max_pool2d)
_spell_adaptive(adaptive_max_pool3d, 3, nn.AdaptiveMaxPool3d, F.adaptive_max_pool3d)


@spelling(torch.mean, "mean")
def _mean(input: Any, dim: Any = None, keepdim: bool = False, *, axis: Any = None, dtype: Any = None) -> Any:
    if dtype is not None:
        raise TypeError("it changes the dtype")
    given, count = axis if dim is None else dim, rank(input)
    dims = tuple(range(count)) if given is None or given == () else axes(input, given)
    if count not in (3, 4, 5) or dims != tuple(range(1, count - 1)):
        return mean(input, dims, keepdim)
    # Channels stand last: of all tokens of a sequence, or all pixels.
    channels_first = permute(input, (0, count - 1, *dims))
    y = mean(channels_first, tuple(range(2, count)), keepdim)
    return permute(y, (0, *range(2, count), 1)) if keepdim else y
