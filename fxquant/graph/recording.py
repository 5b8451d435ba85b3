"""What torch.fx does not see of a forward that it traces.

torch.zeros(n, 3), table[:, :n]   recorded, although no argument in front is a traced value
isinstance(x, Tensor)             answered for the value that x stands for
torch.fx.wrap(function)           handed to the tracer, which looks into it where it can
"""

from __future__ import annotations

import builtins
import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.fx import _symbolic_trace

from fxquant.graph.value_proxy import ValueProxy, values_in

# The functions that torch.fx.wrap was called with: the globals where each is looked up, by their id and its name.
_WRAPPED: dict[tuple[int, str], dict[str, Any]] = _symbolic_trace._wrapped_fns_to_patch

_FUNCTIONS = ("zeros", "ones", "empty", "full", "rand", "randn", "arange", "linspace", "eye", "tensor", "as_tensor")
_METHODS = ("__getitem__", "expand", "view", "reshape", "repeat", "new_zeros", "new_ones", "new_full", "new_empty")


@contextlib.contextmanager
def recording(tracer: Any) -> Iterator[None]:
    """Within, `tracer` sees more."""
    is_of = builtins.isinstance
    builtins.isinstance = lambda x, kind: is_of(x, kind) or (type(x) is ValueProxy and is_of(x._example, kind))
    wrapped = _take_over_wrapped(tracer)
    places: list[tuple[Any, str, str]] = [(torch, name, "call_function") for name in _FUNCTIONS]
    places += [(Tensor, name, "call_method") for name in _METHODS]
    originals = [(place, name, vars(place).get(name), getattr(place, name)) for place, name, _ in places]
    for (place, name, kind), (_, _, _, original) in zip(places, originals, strict=True):
        setattr(place, name, _recording(tracer, kind, name, original))
    try:
        yield
    finally:
        builtins.isinstance = is_of
        for key, space, function in wrapped:
            space[key[1]] = function
            _WRAPPED[key] = space
        for place, name, own, _ in originals:
            if own is None:
                delattr(place, name)
            else:
                setattr(place, name, own)


def _take_over_wrapped(tracer: Any) -> list[tuple[tuple[int, str], dict[str, Any], Callable[..., Any]]]:
    """Lets `tracer`, and not torch.fx, answer calls of wrapped functions. Returns what is to be put back."""
    found = [(key, space, space[key[1]]) for key, space in _WRAPPED.items() if key[1] in space]
    for key, space, function in found:
        space[key[1]] = _handing(tracer, function)
        del _WRAPPED[key]
    return found


def _handing(tracer: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not values_in((args, kwargs)):
            return function(*args, **kwargs)
        return tracer.call_wrapped(function, args, kwargs)

    return call


def _recording(tracer: Any, kind: str, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        if not values_in((args, kwargs)):
            return original(*args, **kwargs)
        if kind == "call_function":
            return tracer.create_proxy(kind, original, args, kwargs)
        return tracer.create_proxy(kind, name, args, kwargs)

    call.__name__ = name
    return call
