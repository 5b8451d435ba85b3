"""Ops of boolean masks, so that a native program makes the mask of its attention itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fxquant.ops.op import Output, op

# What a mask is made of.
MASKABLE = (
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.float32, torch.float64),
)


@op(activations=(), at_run_time=("x",))
def mask_nonzero(x: Tensor) -> Tensor:
    """Numbers of any shape, of a dtype in MASKABLE, -> bool: x != 0."""
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
