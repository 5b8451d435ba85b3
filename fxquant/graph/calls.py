"""What a module's own code calls: the submodules and their arguments, as a run of the example shows them."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.utils import _pytree as pytree


class Call(NamedTuple):
    """A call of the submodule at `path`, with copies of its arguments."""

    path: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@contextlib.contextmanager
def calls_made_by(module: nn.Module) -> Iterator[list[Call]]:
    """The calls that the code of `module` makes within: of its submodules, not of theirs."""
    calls: list[Call] = []
    depth = 0
    hooks = []

    def enter(path: str, args: Any, kwargs: Any) -> None:
        nonlocal depth
        if depth == 0:
            calls.append(Call(path, copied(args), copied(kwargs)))
        depth += 1

    def leave() -> None:
        nonlocal depth
        depth -= 1

    for path, child in module.named_modules():
        if child is module:
            continue
        enters: Any = lambda m, args, kwargs, path=path: enter(path, args, kwargs)  # noqa: E731
        hooks.append(child.register_forward_pre_hook(enters, with_kwargs=True, prepend=True))
        hooks.append(child.register_forward_hook(lambda m, args, result: leave(), always_call=True))
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def copied(value: Any) -> Any:
    """A copy of arguments, whose tensors and objects a call may change."""
    tensors = pytree.tree_map_only(Tensor, lambda t: t.detach().clone(), value)
    return pytree.tree_map_only(_is_object, copy.deepcopy, tensors)


def _is_object(value: Any) -> bool:
    return not isinstance(value, (Tensor, nn.Module, bool, int, float, str, type(None))) and hasattr(value, "__dict__")
