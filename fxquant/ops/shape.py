"""Data movement: the values are the input's, only their places change. A constant `pad` adds its value."""

from __future__ import annotations

import builtins
import operator
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Proxy
from torch.nn import functional as F

from fxquant.ops.arguments import axes, axis, expand_any, rank, shape_of, variadic
from fxquant.ops.op import Output, op, spelling

Sizes = tuple[int, ...]
_MOVES: dict[str, Any] = {"output": Output.SAME, "moves": True}


@op(activations=("tensors",), **_MOVES)
def cat(tensors: tuple[Tensor, ...], dim: int = 0) -> Tensor:
    """The tensors one after the other along `dim`."""
    return torch.cat(tensors, dim)


@op(**_MOVES)
def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The dimensions start_dim..end_dim as one."""
    return torch.flatten(x, start_dim, end_dim)


@op(**_MOVES)
def reshape(x: Tensor, shape: Sizes) -> Tensor:
    """`x` in row-major order as `shape`, of which one entry may be -1."""
    return x.reshape(shape)


@op(**_MOVES)
def permute(x: Tensor, dims: Sizes) -> Tensor:
    """Dimension i of the result is dimension dims[i] of `x`."""
    return torch.permute(x, dims)


@op(**_MOVES)
def squeeze(x: Tensor, dim: Sizes | None = None) -> Tensor:
    """Drops the dimensions `dim` where they are 1. As in torch, None drops every 1, even a batch of one."""
    return torch.squeeze(x) if dim is None else torch.squeeze(x, dim)


@op(**_MOVES)
def unsqueeze(x: Tensor, dim: int) -> Tensor:
    """A new dimension of 1 at `dim`."""
    return torch.unsqueeze(x, dim)


@op(**_MOVES)
def unflatten(x: Tensor, dim: int, sizes: Sizes) -> Tensor:
    """The dimension `dim` as several, of these sizes in row-major order, of which one may be -1."""
    y: Tensor = x.unflatten(dim, sizes)
    return y


@op(**_MOVES)
def expand(x: Tensor, shape: Sizes) -> Tensor:
    """`x` as `shape`: dimensions of 1 are repeated, new ones come in front, and -1 keeps a size."""
    return x.expand(shape)


@op(**_MOVES)
def flip(x: Tensor, dims: Sizes) -> Tensor:
    """`x` backwards along `dims`."""
    return torch.flip(x, dims)


@op(**_MOVES)
def roll(x: Tensor, shifts: Sizes, dims: Sizes) -> Tensor:
    """Element i along dims[j] becomes element i + shifts[j]; what leaves at the end comes back at the beginning."""
    return torch.roll(x, shifts, dims)


@op(**_MOVES)
def getitem(x: Tensor | tuple[Tensor, ...], index: Any) -> Tensor:
    """x[index]: of a tensor, where `index` is a tuple of slices, ints …, or one tensor of several."""
    return x[index]


@op(activations=("x", "value"))
def set_item(x: Tensor, index: Any, value: Any) -> Tensor:
    """A copy of `x` in which x[index] is `value`."""
    result = x.clone()
    result[index] = value
    return result


@op(several=True, **_MOVES)
def chunk(x: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` pieces along `dim`; torch may return fewer."""
    return torch.chunk(x, chunks, dim)


@op(several=True, **_MOVES)
def split(x: Tensor, split_size: int | Sizes, dim: int = 0) -> tuple[Tensor, ...]:
    """Pieces of `split_size` (the last may be shorter), or of the sizes given."""
    return tuple(x.split(split_size, dim))


@op(several=True, **_MOVES)
def unbind(x: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """x[0], x[1] … along `dim`."""
    return torch.unbind(x, dim)


@op(**_MOVES)
def pad(x: Tensor, pad: Sizes, mode: str = "constant", value: float = 0.0) -> Tensor:
    """`pad` counts from the last dimension: (left, right, top, bottom …); negative amounts crop."""
    return F.pad(x, pad, mode, value if mode == "constant" else None)


@op(**_MOVES)
def pixel_shuffle(x: Tensor, upscale_factor: int) -> Tensor:
    """[N, C*r*r, H, W] -> [N, C, H*r, W*r]."""
    return F.pixel_shuffle(x, upscale_factor)


@op(**_MOVES)
def pixel_unshuffle(x: Tensor, downscale_factor: int) -> Tensor:
    """[N, C, H*r, W*r] -> [N, C*r*r, H, W]."""
    return F.pixel_unshuffle(x, downscale_factor)


@spelling(torch.cat, torch.concat, torch.concatenate)
def _cat(tensors: Any, dim: int = 0, *, axis: Any = None) -> Any:
    pieces = tuple(x for x in _pieces(tensors) if shape_of(x) != (0,))  # torch leaves these out too
    if len(pieces) == 1:
        return pieces[0]
    return cat(pieces, _axis(pieces[0], dim if axis is None else axis))


def _axis(x: Any, dim: Any) -> int:
    return axis(x, dim)


def _pieces(tensors: Any) -> tuple[Any, ...]:
    """The tensors of a sequence, also of one that chunk or split computed."""
    if isinstance(tensors, Proxy):
        shapes = shape_of(tensors)
        if not isinstance(shapes, tuple) or isinstance(shapes, torch.Size) or not shapes:
            raise TypeError("the number of its tensors is unknown")
        return tuple(getitem(tensors, i) for i in range(len(shapes)))  # type: ignore[arg-type]
    return tuple(tensors)


@spelling(torch.stack)
def _stack(tensors: Any, dim: int = 0) -> Any:
    pieces = _pieces(tensors)
    at = dim + rank(pieces[0]) + 1 if dim < 0 else dim
    return cat(tuple(unsqueeze(x, at) for x in pieces), at)


@spelling(torch.flatten, "flatten")
def _flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    return flatten(input, axis(input, start_dim), axis(input, end_dim))


@spelling(nn.Flatten)
def _flatten_module(m: Any, input: Any) -> Any:
    return _flatten(input, m.start_dim, m.end_dim)


@spelling(torch.unflatten, "unflatten")
def _unflatten(input: Any, dim: int, sizes: Any) -> Any:
    return unflatten(input, axis(input, dim), tuple(expand_any(sizes)))


@spelling(nn.Unflatten)
def _unflatten_module(m: Any, input: Any) -> Any:
    return _unflatten(input, m.dim, m.unflattened_size)


@spelling("expand")
def _expand(input: Any, *sizes: Any, size: Any = ()) -> Any:
    return expand(input, variadic(sizes or (size,)))


@spelling(torch.broadcast_to, "broadcast_to")
def _broadcast_to(input: Any, size: Any) -> Any:
    return _expand(input, size)


@spelling("repeat")
def _repeat(input: Any, *sizes: Any, repeats: Any = ()) -> Any:
    times = variadic(sizes or (repeats,))
    for _ in range(len(times) - rank(input)):
        input = unsqueeze(input, 0)
    for dim, number in enumerate(times):
        input = _repeated(input, dim, dim, number, len(times))
    return input


@spelling(torch.tile, "tile")
def _tile(input: Any, *sizes: Any, dims: Any = ()) -> Any:
    times = variadic(sizes or (dims,))
    return _repeat(input, (1,) * (rank(input) - len(times)) + tuple(times))


@spelling(torch.repeat_interleave, "repeat_interleave")
def _repeat_interleave(input: Any, repeats: Any, dim: Any = None, *, output_size: Any = None) -> Any:
    if dim is None or not isinstance(repeats, int):
        raise TypeError("it has no dimension, or repeats each element another number of times")
    at = axis(input, dim)
    return _repeated(input, at, at + 1, repeats, rank(input))


def _repeated(x: Any, dim: int, new: int, times: int, dims: int) -> Any:
    """Each index along `dim`, or all indices again if `new` is `dim`, so many times; `x` has so many `dims`."""
    if times == 1:
        return x
    return flatten(expand(unsqueeze(x, new), (-1,) * new + (times,) + (-1,) * (dims - new)), dim, dim + 1)


@spelling(torch.flip, "flip")
def _flip(input: Any, *dims: Any, **more: Any) -> Any:
    return flip(input, axes(input, variadic(dims or tuple(more.values()))))


@spelling(torch.fliplr, "fliplr")
def _fliplr(input: Any) -> Any:
    return flip(input, (1,))


@spelling(torch.flipud, "flipud")
def _flipud(input: Any) -> Any:
    return flip(input, (0,))


@spelling(torch.roll, "roll")
def _roll(input: Any, shifts: Any, dims: Any = ()) -> Any:
    if dims == ():
        raise TypeError("it has no dimension, so it rolls across rows")
    return roll(input, expand_any(shifts), tuple(axis(input, dim) for dim in expand_any(dims)))


@spelling("view", "reshape")
def _view(input: Any, *sizes: Any, size: Any = (), shape: Any = ()) -> Any:
    if any(isinstance(each, torch.dtype) for each in sizes):
        raise TypeError("it reinterprets the dtype")
    return reshape(input, variadic(sizes or (size or shape,)))


@spelling(torch.reshape)
def _reshape(input: Any, shape: Any) -> Any:
    return reshape(input, variadic((shape,)))


@spelling("permute")
def _permute(input: Any, *order: Any, dims: Any = ()) -> Any:
    return permute(input, tuple(axis(input, dim) for dim in expand_any(variadic(order or (dims,)))))


@spelling(torch.permute)
def _permute_function(input: Any, dims: Any) -> Any:
    return _permute(input, dims)


@spelling(torch.transpose, torch.swapaxes, torch.swapdims, "transpose", "swapaxes", "swapdims")
def _transpose(input: Any, dim0: int, dim1: int) -> Any:
    order = list(range(rank(input)))
    order[dim0], order[dim1] = order[dim1], order[dim0]
    return permute(input, tuple(order))


@spelling(torch.t, "t")
def _t(input: Any) -> Any:
    return permute(input, tuple(reversed(range(rank(input)))))


@spelling(getattr)
def _attribute(input: Any, name: str) -> Any:
    if name == "mT":
        return _transpose(input, -2, -1)
    if name == "T":
        return _t(input)
    raise TypeError(f"the attribute {name} is not in the op table")


@spelling(torch.movedim, torch.moveaxis, "movedim", "moveaxis")
def _movedim(input: Any, source: Any, destination: Any) -> Any:
    ranks = range(rank(input))
    sources = [axis(input, dim) for dim in expand_any(source)]
    targets = [axis(input, dim) for dim in expand_any(destination)]
    rest = iter(dim for dim in ranks if dim not in sources)
    moved = dict(zip(targets, sources, strict=True))
    return permute(input, tuple(moved[i] if i in moved else next(rest) for i in ranks))


@spelling(torch.squeeze, "squeeze")
def _squeeze(input: Any, dim: Any = None) -> Any:
    return squeeze(input, None if dim is None else axes(input, dim))


@spelling(torch.unsqueeze, "unsqueeze")
def _unsqueeze(input: Any, dim: int) -> Any:
    return unsqueeze(input, dim + rank(input) + 1 if dim < 0 else dim)


@spelling(operator.getitem, "__getitem__")
def _getitem(input: Any, index: Any) -> Any:
    shape = shape_of(input)
    if isinstance(shape, torch.Size):
        return getitem(input, index if isinstance(index, tuple) else (index,))
    if shape and isinstance(index, int):
        return getitem(input, index % len(shape))
    raise TypeError("what it takes an item of is not a tensor")


@spelling(torch.narrow, "narrow")
def _narrow(input: Any, dim: int, start: int, length: int) -> Any:
    return getitem(input, (*_all(axis(input, dim)), builtins.slice(start, start + length)))


@spelling(torch.select, "select")
def _select(input: Any, dim: int, index: int) -> Any:
    return getitem(input, (*_all(axis(input, dim)), index))


def _all(dims: int) -> tuple[builtins.slice, ...]:
    return (builtins.slice(None),) * dims


@spelling(torch.chunk, "chunk")
def _chunk(input: Any, chunks: int, dim: int = 0) -> Any:
    return chunk(input, chunks, axis(input, dim))


@spelling(torch.split, torch.functional.split, "split")
def _split(input: Any, split_size_or_sections: Any, dim: int = 0) -> Any:
    sizes = split_size_or_sections
    return split(input, tuple(sizes) if isinstance(sizes, (tuple, list)) else sizes, axis(input, dim))


@spelling("split_with_sizes", torch.split_with_sizes)
def _split_with_sizes(input: Any, split_sizes: Any, dim: int = 0) -> Any:
    return _split(input, split_sizes, dim)


@spelling(torch.unbind, "unbind")
def _unbind(input: Any, dim: int = 0) -> Any:
    return unbind(input, axis(input, dim))


@spelling(F.pad)
def _pad(input: Any, pad: Any, mode: str = "constant", value: float | None = None) -> Any:
    return _padded(input, tuple(pad), mode, value or 0.0)


def _padded(x: Any, amounts: tuple[Any, ...], mode: str, value: float = 0.0) -> Any:
    adds = any(isinstance(amount, Proxy) or amount for amount in amounts)
    return pad(x, amounts, mode, float(value)) if adds else x


def _spell_pad(mode: str, *modules: type[nn.Module]) -> None:
    @spelling(*modules)
    def call_module(m: Any, input: Any) -> Any:
        return _padded(input, tuple(m.padding), mode, getattr(m, "value", 0.0))


_spell_pad("constant", nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d)
_spell_pad("reflect", nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d)
_spell_pad("replicate", nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d)
_spell_pad("circular", nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d)


@spelling(F.pixel_shuffle)
def _pixel_shuffle(input: Any, upscale_factor: int) -> Any:
    return pixel_shuffle(input, upscale_factor)


@spelling(nn.PixelShuffle)
def _pixel_shuffle_module(m: Any, input: Any) -> Any:
    return pixel_shuffle(input, m.upscale_factor)


@spelling(F.pixel_unshuffle)
def _pixel_unshuffle(input: Any, downscale_factor: int) -> Any:
    return pixel_unshuffle(input, downscale_factor)


@spelling(nn.PixelUnshuffle)
def _pixel_unshuffle_module(m: Any, input: Any) -> Any:
    return pixel_unshuffle(input, m.downscale_factor)
