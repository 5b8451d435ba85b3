"""The torch.library namespace `fxquant`: kernels as torch ops that torch.export and torch.compile see through."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fxquant.errors import FxquantError, InputError

LIBRARY = torch.library.Library("fxquant", "DEF")

# What a kernel is told about a tensor: base, offset in bytes, shape, strides in elements (kernels/base/view.h). An
# absent one is ().
View = tuple[int, int, tuple[int, ...], tuple[int, ...]] | tuple[()]
ABSOLUTE = -1  # the base of a view whose offset is an address


def view(x: Tensor | None) -> View:
    """`x` where it lies in memory."""
    return () if x is None else (ABSOLUTE, x.data_ptr(), x.shape, x.stride())


def like(x: Tensor, dtype: torch.dtype) -> Tensor:
    """torch.empty_like(x, dtype=dtype). For tensors without memory that one imports sympy, mostly for nothing."""
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.dim(), torch.contiguous_format)
    if x.is_contiguous() or x.is_contiguous(memory_format=last):
        return torch.empty_strided(x.shape, x.stride(), dtype=dtype, device=x.device)
    return torch.empty_like(x, dtype=dtype)


def torch_op(schema: str, fake: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers the decorated CPU implementation under `schema`; `fake` computes shapes and dtypes alone.

    Returns the torch op (an OpOverload) in place of the function. Whatever the implementation raises for arguments that
    it was not made for comes as an InputError.
    """

    def register(implementation: Callable[..., Any]) -> Callable[..., Any]:
        name = schema.split("(", 1)[0]
        LIBRARY.define(schema)
        LIBRARY.impl(name, _refusing(schema, implementation), "CPU")
        torch.library.register_fake(f"fxquant::{name}", fake, lib=LIBRARY)
        overload: Callable[..., Any] = getattr(torch.ops.fxquant, name).default
        return overload

    return register


def _refusing(schema: str, implementation: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(implementation)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return implementation(*args, **kwargs)
        except FxquantError:
            raise
        except Exception as error:
            reason = str(error).split("\n", 1)[0]
            raise InputError(f"these arguments are none for fxquant::{schema}: {reason}") from error

    return run
