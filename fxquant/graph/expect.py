"""What a captured graph relies on, checked whenever it runs.

    expect(value, fixed, what)            a branch, a loop's length or a size is what it was for the example inputs
    expect_options(names, given, fixed)   arguments that are no data are what they were

Both record one node while tracing, and compute nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.fx import Proxy
from torch.utils import _pytree as pytree

from fxquant.errors import InputError

NEEDED = "a tensor"  # in place of the fixed value of an argument that is data


def expect(value: Any, fixed: Any, what: str) -> None:
    """Raises InputError unless `value` (as a bool, where `fixed` is one) is `fixed`; `what` says whose it is."""
    if _recorded(expect, value, fixed, what):
        return
    found = bool(value) if isinstance(fixed, bool) else value
    if found != fixed:
        raise InputError(
            f"the model was captured for inputs where {what} is {fixed}; here it is {found}. Pass inputs like the "
            "example inputs, or prepare the model with inputs like these"
        )


def expect_options(names: tuple[str, ...], given: tuple[Any, ...], fixed: tuple[Any, ...]) -> None:
    """Raises InputError for an argument that is not what it was in the example inputs, where None also means absent."""
    if _recorded(expect_options, names, given, fixed):
        return
    for name, value, wanted in zip(names, given, fixed, strict=True):
        if wanted is NEEDED or wanted == NEEDED:
            if value is None:
                raise InputError(f"the argument {name!r} is missing; the example inputs had it, so the model needs it")
        elif isinstance(value, Tensor) or (value is not wanted and value != wanted):
            shown = "data" if isinstance(value, Tensor) else repr(value)
            raise InputError(
                f"the argument {name!r} is {shown}; with the example inputs it was {wanted!r}, which was fixed. "
                f"To use another value, prepare the model with example inputs that have it"
            )


CHECKS: tuple[Callable[..., None], ...] = (expect, expect_options)


def _recorded(check: Callable[..., None], *args: Any) -> bool:
    """Whether the call was recorded, since a tracer is at work, rather than to be done."""
    proxy = next((leaf for leaf in pytree.tree_leaves(args) if isinstance(leaf, Proxy)), None)
    if proxy is not None:
        proxy.tracer.create_proxy("call_function", check, args, {})
    return proxy is not None
