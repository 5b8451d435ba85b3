"""@typed: an argument that is not of the kind its annotation says ends in a ConfigError that names it.

int, float, bool    any number of that kind; a bool may be 0 or 1
a class             an instance of it; of a TypeVar, of its bound
Callable            what can be called
X | Y               either
anything else       is not looked at: the function itself says what is wrong
"""

from __future__ import annotations

import functools
import inspect
import numbers
import reprlib
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from torch import Tensor

from fxquant.errors import ConfigError

Function = TypeVar("Function", bound=Callable[..., Any])

_GATHERED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_NUMBERS: dict[Any, type] = {int: numbers.Integral, float: numbers.Real, bool: numbers.Integral}


def typed(function: Function) -> Function:
    """`function`, which raises ConfigError for an argument of a kind that its annotation does not allow."""
    signature = inspect.signature(function)

    @functools.cache
    def hints() -> dict[str, Any]:
        ours = {name: hint for name, hint in function.__annotations__.items() if name != "return"}
        return typing.get_type_hints(types.SimpleNamespace(__annotations__=ours), function.__globals__)

    named = {name for name, parameter in signature.parameters.items() if parameter.kind not in _GATHERED}

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError:
            return function(*args, **kwargs)  # which says what it takes
        for name, value in given.items():
            kind = hints().get(name, Any) if name in named else Any
            if not _fits(value, kind):
                what = type(args[0]).__name__ if function.__name__ == "__init__" else function.__qualname__
                raise ConfigError(f"{what}: {name} is {_shown(value)}; it must be {_words(kind)}")
        return function(*args, **kwargs)

    return call  # type: ignore[return-value]


def _fits(value: Any, hint: Any) -> bool:
    kind = _kind(hint)
    if isinstance(kind, tuple):
        return any(_fits(value, each) for each in kind)
    if kind is Callable:
        return callable(value)
    return not isinstance(kind, type) or kind is Iterable or isinstance(value, _NUMBERS.get(kind, kind))


def _words(hint: Any) -> str:
    kind = _kind(hint)
    if isinstance(kind, tuple):
        return " or ".join(map(_words, kind))
    if kind is None or kind is type(None) or kind is Callable:
        return "callable" if kind is Callable else "None"
    name = f"torch.{kind.__name__}" if kind.__module__ == "torch" else kind.__name__
    return f"an {name}" if name[0] in "aeiouAEIOU" else f"a {name}"


def _kind(hint: Any) -> Any:
    """A class; several hints; or None for what is not looked at."""
    origin = typing.get_origin(hint)
    if isinstance(hint, TypeVar):
        return _kind(hint.__bound__)
    if origin in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    kind = hint if origin is None else origin
    return kind if isinstance(kind, type) and kind is not Any else None


def _shown(value: Any) -> str:
    large = isinstance(value, Tensor) or not isinstance(value, (str, bytes, numbers.Number, type(None), type))
    return f"a {type(value).__name__}" if large else reprlib.repr(value)
