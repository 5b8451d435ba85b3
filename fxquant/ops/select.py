"""masked_fill and where: values of two tensors, or of a tensor and a number, side by side."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import Proxy

from fxquant.ops.arguments import exactly, shape_of
from fxquant.ops.op import Output, op, spelling


@op(output=Output.SAME, moves=True, at_run_time=("mask",))
def masked_fill(x: Tensor, mask: Tensor, value: float) -> Tensor:
    """`value` where the bool `mask`, which broadcasts to the shape of `x`, is True; else x."""
    return x.masked_fill(mask, value)


@op(activations=("a", "b"), output=Output.SAME, moves=True, at_run_time=("condition",))
def where(condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """a where the bool `condition` is True, else b; all three broadcast."""
    return torch.where(condition, a, b)


@spelling(torch.masked_fill, "masked_fill")
def _masked_fill(input: Any, mask: Any, value: Any) -> Any:
    if not isinstance(value, (int, float)):
        raise TypeError("its value is a tensor or computed; it must be a number")
    return masked_fill(input, mask, float(value))


@spelling(torch.where)
def _where(condition: Any, input: Any, other: Any) -> Any:
    if isinstance(input, Proxy) and isinstance(other, Proxy):
        return where(condition, input, other)  # type: ignore[arg-type]
    if not isinstance(input, Proxy) and not isinstance(other, Proxy):
        raise TypeError("it chooses between two numbers")
    x, number = (input, other) if isinstance(input, Proxy) else (other, input)
    if not _covers(shape_of(x), shape_of(condition)):
        raise TypeError("its condition is larger than its tensor")
    return _masked_fill(x, _not(condition) if x is input else condition, number)


def _covers(shape: Any, other: Any) -> bool:
    """Whether what is of the shape `other` broadcasts to `shape`."""
    try:
        return bool(torch.broadcast_shapes(shape, other) == shape)
    except (RuntimeError, TypeError):
        return False


@spelling("where")
def _where_method(input: Any, condition: Any, other: Any) -> Any:
    return _where(condition, input, other)


def _not(condition: Any) -> Any:
    return exactly("it computes booleans, which stay as they are", torch.logical_not, condition)
