"""How spellings bring their arguments into the one form in which ops record them.

A spelling whose arguments have no such form raises TypeError; its message becomes the node's reason to stay float.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.fx import Proxy

Limits = dict[str, Any]


def expand(value: Any, dims: int) -> tuple[Any, ...]:
    """An int, or a sequence of one or `dims` values, as a tuple of `dims` values."""
    if isinstance(value, Proxy):
        raise TypeError(f"{value.node.name} is computed while the model runs; it must be a constant")
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if len(values) not in (1, dims):
        raise TypeError(f"{values} has {len(values)} entries instead of {dims}")
    return values * dims if len(values) == 1 else values


def shape_of(x: Any) -> Any:
    """What the example inputs showed for a graph value.

    A torch.Size for a tensor, a tuple of them for several tensors, None for anything else; () if nothing is known.
    """
    return x.node.meta.get("shape", ()) if isinstance(x, Proxy) else None


def rank(x: Any) -> int:
    """The number of dimensions of a graph value; raises TypeError if it is unknown."""
    shape = shape_of(x)
    if not isinstance(shape, torch.Size):
        raise TypeError("the number of dimensions of its input is unknown")
    return len(shape)


def axis(x: Any, dim: Any) -> int:
    """`dim` counted from the front, where the number of dimensions is known."""
    if not isinstance(dim, int):
        raise TypeError(f"the dimension {dim} is not a constant")
    return dim + rank(x) if dim < 0 and isinstance(shape_of(x), torch.Size) else dim


def axes(x: Any, dims: Any) -> tuple[int, ...]:
    """One dimension or several, counted from the front, in ascending order."""
    return tuple(sorted(axis(x, dim) for dim in expand_any(dims)))


def expand_any(values: Any) -> tuple[Any, ...]:
    """One value or a sequence of them as a tuple."""
    return tuple(values) if isinstance(values, (tuple, list)) else (values,)


def variadic(values: tuple[Any, ...]) -> Any:
    """What a method such as x.permute(0, 1) or x.permute((0, 1)) was given: a tuple, or one computed sequence."""
    if len(values) == 1 and isinstance(values[0], (tuple, list, torch.Size)):
        return tuple(values[0])
    return values[0] if len(values) == 1 and isinstance(values[0], Proxy) else values


def exactly(reason: str, function: Callable[..., Any], *args: Any) -> Any:
    """Records a call that stays as it is, for `reason`, although its function may be a spelling."""
    call = function(*args)
    call.node.meta["reason"] = reason
    known = [_stand_in(arg) for arg in args]
    if not any(stand_in is None for stand_in in known):
        result = function(*known)
        call.node.meta.update(shape=result.shape, dtype=result.dtype)
    return call


def _stand_in(value: Any) -> Any:
    """A tensor without memory for a graph value, None if its shape is unknown; anything else as it is."""
    if not isinstance(value, Proxy):
        return value
    shape, dtype = value.node.meta.get("shape"), value.node.meta.get("dtype")
    return torch.empty(shape, dtype=dtype, device="meta") if isinstance(shape, torch.Size) else None


def takes_rank(*ranks: int) -> Any:
    """Limits of an op whose kernel takes an `x` of these numbers of dimensions only."""

    def limits(arguments: Limits) -> str | None:
        shape = arguments["x"].meta.get("shape")
        if shape is None or len(shape) in ranks:
            return None
        return f"its input has {len(shape)} dimensions; the kernel takes {' or '.join(map(str, ranks))}"

    return limits
