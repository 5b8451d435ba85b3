"""aten.relu.default(x)   ->   F.relu(x)

How users write what torch.export calls by the names of ATen: as the function or method of the same name, which takes
the same arguments in the same order, but for those below.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.nn import functional as F

from fxquant.ops.op import SPELLINGS

Written = tuple[str, Any, tuple[Any, ...], dict[str, Any]]  # kind of node, target, args, kwargs

_CHECKS = {
    "_assert_scalar",
    "_assert_async",
    "_assert_tensor_metadata",
    "sym_constrain_range",
    "sym_constrain_range_for_size",
}


def as_written(target: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Written | None:
    """The call as users write it; of an op that has no other name, the call itself; of a mere check, None."""
    namespace, _, name = target._schema.name.partition("::")
    if name in _CHECKS:
        return None
    if namespace != "aten":
        return "call_function", target, args, kwargs
    if name in _ARGUMENTS:
        return _ARGUMENTS[name](*args, **kwargs)
    public = next((f for f in _functions(name) if f in SPELLINGS), None)
    if public is not None:
        return "call_function", public, args, kwargs
    first = target._schema.arguments[0].name if target._schema.arguments else ""
    if first == "self" and args and hasattr(Tensor, name):
        return "call_method", name, args, kwargs
    return "call_function", next(iter(_functions(name)), target), args, kwargs


def _functions(name: str) -> list[Callable[..., Any]]:
    places = (F, torch, torch._C._nn)
    return [getattr(place, name) for place in places if callable(getattr(place, name, None))]


def _call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Written:
    return "call_function", function, args, kwargs


def _sym_size(x: Any, dim: Any = None) -> Written:
    return "call_method", "size", (x,) if dim is None else (x, dim), {}


def _slice(x: Any, dim: int = 0, start: Any = None, end: Any = None, step: Any = 1) -> Written:
    end = None if isinstance(end, int) and end == 2**63 - 1 else end
    rest = (slice(None),) * dim
    return "call_method", "__getitem__", (x, (*rest, slice(start, end, None if step == 1 else step))), {}


def _index(x: Any, indices: Any) -> Written:
    return "call_method", "__getitem__", (x, tuple(slice(None) if i is None else i for i in indices)), {}


def _batch_norm(
    x: Any, weight: Any, bias: Any, mean: Any, var: Any, training: bool, momentum: float, eps: float, *_: Any
) -> Written:
    return _call(F.batch_norm, x, mean, var, weight, bias, training, momentum, eps)


def _embedding(weight: Any, indices: Any, padding_idx: int = -1, *_: Any) -> Written:
    return _call(F.embedding, indices, weight, None if padding_idx < 0 else padding_idx)


def _layer_norm(x: Any, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any) -> Written:
    return _call(F.layer_norm, x, tuple(shape), weight, bias, eps)


def _group_norm(x: Any, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any) -> Written:
    return _call(F.group_norm, x, groups, weight, bias, eps)


def _max_pool(function: Callable[..., Any]) -> Callable[..., Written]:
    def call(x: Any, kernel: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil: bool = False) -> Written:
        return _call(function, x, kernel, stride or None, padding, dilation, ceil)

    return call


def _avg_pool(function: Callable[..., Any]) -> Callable[..., Written]:
    def call(x: Any, kernel: Any, stride: Any = (), *rest: Any, **kwargs: Any) -> Written:
        return _call(function, x, kernel, stride or None, *rest, **kwargs)

    return call


def _upsample(mode: str) -> Callable[..., Written]:
    def call(x: Any, size: Any, *rest: Any) -> Written:
        align = rest[0] if mode != "nearest" else None
        return _call(F.interpolate, x, size, rest[-1] if size is None else None, mode, align)

    return call


def _dropout(x: Any, p: float, train: bool) -> Written:
    return _call(F.dropout, x, p, train)


def _to(x: Any, *args: Any, dtype: Any = None, **kwargs: Any) -> Written:
    given = next((arg for arg in args if isinstance(arg, torch.dtype)), dtype)
    return "call_method", "to", (x,), {"dtype": given or x.dtype}


_ARGUMENTS: dict[str, Callable[..., Written]] = {
    "sym_size": _sym_size,
    "slice": _slice,
    "index": _index,
    "batch_norm": _batch_norm,
    "embedding": _embedding,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "max_pool1d": _max_pool(F.max_pool1d),
    "max_pool2d": _max_pool(F.max_pool2d),
    "max_pool3d": _max_pool(F.max_pool3d),
    "avg_pool1d": _avg_pool(F.avg_pool1d),
    "avg_pool2d": _avg_pool(F.avg_pool2d),
    "avg_pool3d": _avg_pool(F.avg_pool3d),
    "upsample_nearest1d": _upsample("nearest"),
    "upsample_nearest2d": _upsample("nearest"),
    "upsample_linear1d": _upsample("linear"),
    "upsample_bilinear2d": _upsample("bilinear"),
    "upsample_bicubic2d": _upsample("bicubic"),
    "im2col": partial(_call, F.unfold),
    "col2im": partial(_call, F.fold),
    "dropout": _dropout,
    "feature_dropout": _dropout,
    "_to_copy": _to,
    "to": _to,
}
