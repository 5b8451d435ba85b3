"""Example inputs: how they fit the signature of a model's forward."""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from fxquant.errors import InputError

_CONSTANTS = (bool, int, float, str, type(None))


def bind_inputs(model: nn.Module, example_inputs: Any) -> inspect.BoundArguments:
    """The example inputs by parameter of model.forward: a tensor, a tuple or list of arguments, or a dict of keywords.

    Raises InputError, showing the signature, if they are of another type, do not fit, or hold no tensor.
    """
    args, kwargs = _arguments(model, example_inputs)
    try:
        bound = inspect.signature(model.forward).bind(*args, **kwargs)
    except TypeError as error:
        given = f"{len(args)} positional" if args or not kwargs else f"the keywords {', '.join(kwargs)}"
        raise InputError(f"example_inputs do not fit {show_forward(model)}: {error}; {given} given") from None
    for name, value in bound.arguments.items():
        _check_type(model, name, value)
    if not any(isinstance(leaf, Tensor) for leaf in pytree.tree_leaves((args, kwargs))):
        raise InputError(f"example_inputs hold no tensor; pass what {show_forward(model)} is called with")
    return bound


def is_constant(value: Any) -> bool:
    """Whether an input is an option, fixed by tracing, rather than data."""
    return isinstance(value, _CONSTANTS)


def show_forward(model: nn.Module) -> str:
    """The signature of forward, such as Net.forward(x, mask=None)."""
    parameters = inspect.signature(model.forward).parameters.values()
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in parameters]
    return f"{type(model).__name__}.forward{inspect.Signature(bare)}"


def _arguments(model: nn.Module, example_inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(example_inputs, Tensor):
        return (example_inputs,), {}
    if isinstance(example_inputs, (tuple, list)):
        return tuple(example_inputs), {}
    if isinstance(example_inputs, dict) and all(isinstance(key, str) for key in example_inputs):
        return (), example_inputs
    raise InputError(
        f"example_inputs is a {type(example_inputs).__name__}; pass a tuple of the arguments of "
        f"{show_forward(model)}, or a dict of keyword arguments"
    )


def _check_type(model: nn.Module, name: str, value: Any) -> None:
    for leaf in pytree.tree_leaves(value):
        if not isinstance(leaf, Tensor) and not is_constant(leaf):
            kind = f"{type(leaf).__module__}.{type(leaf).__qualname__}".removeprefix("builtins.")
            raise InputError(f"the example input {name!r} of {show_forward(model)} is a {kind}, not a tensor")
