"""Example inputs: how they fit the signature of a model's forward."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from fxquant.errors import InputError

_CONSTANTS = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class BoundCall:
    """The arguments of a call of forward, as they were given and by parameter."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    signature: inspect.Signature

    @property
    def arguments(self) -> dict[str, Any]:
        """By parameter, without those that were left to their defaults."""
        return dict(self.signature.bind(*self.args, **self.kwargs).arguments)

    def like_given(self, values: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """`values`, by parameter, as positional and keyword arguments, in the way in which these were given."""
        args: list[Any] = []
        keywords: dict[str, Any] = {}
        for name, parameter in self.signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                keywords.update(values.get(name, {}))
            elif parameter.kind is parameter.VAR_POSITIONAL:
                args.extend(values.get(name, ()))
            elif name in self.kwargs:
                keywords[name] = values[name]
            elif name in values and len(args) < len(self.args):
                args.append(values[name])
        return args, keywords


def bind_inputs(model: nn.Module, example_inputs: Any) -> BoundCall:
    """The example inputs as arguments of model.forward: a tensor, a tuple or list of them, or a dict of keywords.

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
    return BoundCall(args, kwargs, bound.signature)


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
    try:
        leaves = pytree.tree_leaves(value)
    except RecursionError:
        raise InputError(f"the example input {name!r} of {show_forward(model)} contains itself") from None
    for leaf in leaves:
        if not isinstance(leaf, Tensor) and not is_constant(leaf):
            kind = f"{type(leaf).__module__}.{type(leaf).__qualname__}".removeprefix("builtins.")
            raise InputError(f"the example input {name!r} of {show_forward(model)} is a {kind}, not a tensor")
