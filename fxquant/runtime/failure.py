"""What a finished model says of a call that fails: an InputError that names the place in the user's model.

torch's own ops, which compute what stays float, and Python, which binds arguments, raise errors that speak of neither.
"""

from __future__ import annotations

import contextlib
import inspect
from typing import Any

from torch import Tensor
from torch._C import _len_torch_dispatch_stack as dispatch_modes
from torch.compiler import is_compiling
from torch.fx import GraphModule, Interpreter, Node, Proxy
from torch.jit import is_tracing  # type: ignore[attr-defined]
from torch.utils import _pytree as pytree

from fxquant.errors import InputError
from fxquant.graph.origin import where


def complain(module: GraphModule, error: Exception, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raises the InputError that `error`, of a call with these arguments, stands for; returns if it may stay itself.

    It stays if it is ours or of the user's own classes, or was meant for a tracer that watches the call.
    """
    if not _is_of_python_or_torch(error) or _is_watched(args, kwargs):
        return
    name = type(module).__name__
    try:
        bound = inspect.signature(module.forward).bind(*args, **kwargs)
    except TypeError as wrong:
        raise InputError(
            f"the arguments do not fit {name}.forward{inspect.signature(module.forward)}: {wrong}"
        ) from error
    values = [*bound.args, *bound.kwargs.values()]
    node = _failing(module, values)
    place = name if node is None else f"{name}: {where(node)}"
    raise InputError(f"{place} failed on {', '.join(map(_described, values))}: {error}") from error


def _is_of_python_or_torch(error: Exception) -> bool:
    package = type(error).__module__.partition(".")[0]
    return package in ("builtins", "torch") and not isinstance(error, MemoryError)


def _is_watched(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    leaves = pytree.tree_leaves((args, kwargs))
    return bool(is_compiling() or is_tracing() or dispatch_modes()) or any(isinstance(leaf, Proxy) for leaf in leaves)


def _failing(module: GraphModule, values: list[Any]) -> Node | None:
    """The node that fails on these inputs, if it fails again."""
    finder = _Finder(module)
    with contextlib.suppress(Exception):
        finder.run(*values)
    return finder.failing


class _Finder(Interpreter):
    failing: Node | None = None

    def __init__(self, module: GraphModule) -> None:
        super().__init__(module)
        self.extra_traceback = False

    def run_node(self, n: Node) -> Any:
        self.failing = n
        value = super().run_node(n)
        self.failing = None
        return value


def _described(value: Any) -> str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    dtype, layout = (str(each).removeprefix("torch.") for each in (value.dtype, value.layout))
    form = "nested" if value.is_nested else f"{'' if layout == 'strided' else f'{layout} '}{list(value.shape)}"
    return f"{dtype} {form}"
