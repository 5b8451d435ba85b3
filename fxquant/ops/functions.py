"""Functions of one number that are no activations: tables of 256 entries."""

from __future__ import annotations

import builtins
import operator
from typing import Any

import torch
from torch import Tensor
from torch.fx import Proxy

from fxquant.ops.op import op, spelling


@op(pointwise=True, spellings=(torch.abs, torch.absolute, operator.abs, builtins.abs, "abs", "absolute", "__abs__"))
def abs(x: Tensor) -> Tensor:
    """x without its sign."""
    return torch.abs(x)


@op(pointwise=True)
def pow(x: Tensor, exponent: float) -> Tensor:
    """x multiplied by itself, for a whole `exponent`; for others NaN where x is negative, as in torch."""
    return torch.pow(x, exponent)


@spelling(operator.pow, torch.pow, "pow", "__pow__")
def _pow(input: Any, exponent: Any) -> Any:
    if not isinstance(exponent, (int, float)) or not isinstance(input, Proxy):
        raise TypeError("its base or its exponent is not constant")
    return pow(input, exponent)  # type: ignore[arg-type]


@spelling(torch.square, "square")
def _square(input: Any) -> Any:
    return pow(input, 2)


@op(spellings=(torch.rsqrt, "rsqrt"))
def rsqrt(x: Tensor) -> Tensor:
    """1 / sqrt(x). In float: 8 bits of a small x hold too little of it."""
    return torch.rsqrt(x)
