"""Ops of boolean masks, so that a native program makes the mask of its attention itself."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fxquant.ops.op import Output, op


@op(activations=(), at_run_time=("x",))
def mask_nonzero(x: Tensor) -> Tensor:
    """Integers or bool of any shape -> bool: x != 0."""
    return x != 0


@op(activations=(), at_run_time=("a", "b"))
def mask_and(a: Tensor, b: Tensor) -> Tensor:
    """a and b of bool, broadcast."""
    return a & b


@op(output=Output.SAME, moves=True)
def corner(x: Tensor, sizes: tuple[Any, ...], index: tuple[Any, ...]) -> Tensor:
    """x[: sizes[0], : sizes[1], …][index], of None and slice(None). Raises RuntimeError if `x` is smaller than that."""
    for dim, size in enumerate(sizes):
        x = x.narrow(dim, 0, size)
    return x[index]
