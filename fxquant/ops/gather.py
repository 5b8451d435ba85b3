"""Data movement whose places are told by a tensor or by windows."""

from __future__ import annotations

import builtins
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fxquant.ops import shape
from fxquant.ops.arguments import axis, expand, rank
from fxquant.ops.op import Output, op, spelling
from fxquant.ops.shape import cat, flatten, getitem, pad, permute, reshape, unflatten


@op(output=Output.SAME, moves=True, at_run_time=("index",))
def index_select(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """The positions `index`, int64 [number], of `x` along `dim`."""
    return torch.index_select(x, dim, index)


@op(output=Output.SAME, moves=True, at_run_time=("index",))
def gather(x: Tensor, dim: int, index: Tensor) -> Tensor:
    """Of `x`, along `dim`, the position that the int64 `index`, of the result's shape, names for each element."""
    return torch.gather(x, dim, index)


@op(output=Output.SAME, moves=True)
def unfold(x: Tensor, dim: int, size: int, step: int) -> Tensor:
    """Windows of `size` along `dim`, every `step` positions, as a new last dimension."""
    y: Tensor = x.unfold(dim, size, step)
    return y


@spelling(torch.index_select, "index_select")
def _index_select(input: Any, dim: int, index: Any) -> Any:
    return index_select(input, axis(_with_dimensions(input), dim), index)


@spelling(torch.gather, "gather")
def _gather(input: Any, dim: int, index: Any, *, sparse_grad: bool = False) -> Any:
    return gather(input, axis(_with_dimensions(input), dim), index)


def _with_dimensions(input: Any) -> Any:
    if rank(input) == 0:
        raise TypeError("it takes from a single number, without dimensions")
    return input


@spelling("unfold")
def _unfold(input: Any, dimension: int, size: int, step: int) -> Any:
    return unfold(input, axis(input, dimension), size, step)


@spelling(F.unfold)
def _windows(input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """[N, C, H, W] -> [N, C * kernel, windows]: the pixels of each window below one another."""
    if rank(input) != 4:
        raise TypeError("it takes a single image; only batches are in the op table")
    kernel, steps, strides = expand(kernel_size, 2), expand(dilation, 2), expand(stride, 2)
    above, left = expand(padding, 2)
    x = pad(input, (left, left, above, above)) if above or left else input
    for dim in (0, 1):
        x = unfold(x, 2 + dim, steps[dim] * (kernel[dim] - 1) + 1, strides[dim])
    x = getitem(x, (Ellipsis, *(builtins.slice(None, None, step) for step in steps))) if max(steps) > 1 else x
    return flatten(flatten(permute(x, (0, 1, 4, 5, 2, 3)), 1, 3), 2, 3)


@spelling(nn.Unfold)
def _windows_module(m: Any, input: Any) -> Any:
    return _windows(input, m.kernel_size, m.dilation, m.padding, m.stride)


@spelling(F.channel_shuffle, torch.channel_shuffle)
def _channel_shuffle(input: Any, groups: int) -> Any:
    order = (0, 2, 1, *range(3, rank(input) + 1))
    return flatten(permute(unflatten(input, 1, (groups, -1)), order), 1, 2)


@spelling(nn.ChannelShuffle)
def _channel_shuffle_module(m: Any, input: Any) -> Any:
    return _channel_shuffle(input, m.groups)


def _spell_stack(dim: int, *functions: Any) -> None:
    @spelling(*functions)
    def call(tensors: Any) -> Any:
        pieces = tuple(tensors)
        if rank(pieces[0]) <= max(dim, 1):
            raise TypeError("its tensors have too few dimensions, which it adds")
        return cat(pieces, dim)


_spell_stack(0, torch.vstack)
_spell_stack(1, torch.hstack, torch.column_stack)
_spell_stack(2, torch.dstack)


@spelling("expand_as")
def _expand_as(input: Any, other: Any) -> Any:
    return shape.expand(input, other.shape)


@spelling("view_as", "reshape_as")
def _view_as(input: Any, other: Any) -> Any:
    return reshape(input, other.shape)


@spelling(torch.ravel, "ravel")
def _ravel(input: Any) -> Any:
    return flatten(input, 0, rank(input) - 1)
