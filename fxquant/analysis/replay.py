"""Looks into running models: what the calls of their parts get, and what the nodes within compute.

Nothing is left behind in a model: hooks are there as long as `watched` is.
"""

from __future__ import annotations

import contextlib
import inspect
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule, Interpreter, Node

from fxquant.calibrate import in_order
from fxquant.graph.parts import parts_of

# The path of a part, and how many calls of it came before in this run of the model.
CallKey = tuple[str, int]
# Is told of a call and its arguments, in the order of the placeholders; returns what the part returns.
See = Callable[[CallKey, list[Any]], Any]


class Replay(Interpreter):
    """Runs a graph node by node; what `see(node, value)` returns stands for the value from then on."""

    def __init__(self, gm: GraphModule, see: Callable[[Node, Any], Any]) -> None:
        super().__init__(gm)
        self.extra_traceback = False
        self.see = see

    def run_node(self, n: Node) -> Any:
        return self.see(n, super().run_node(n))


@contextlib.contextmanager
def watched(model: nn.Module, see: See) -> Iterator[None]:
    """Within, each call of a part of `model` is told to `see`, with its arguments in the order of its placeholders.

    What `see` runs itself is not told.
    """
    calls: Counter[str] = Counter()
    seeing = False

    def hook(path: str, part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        nonlocal seeing
        if seeing:
            return
        key = path, calls[path]
        calls[path] += 1
        seeing = True
        try:
            see(key, in_order(inspect.signature(part.forward), args, kwargs))
        finally:
            seeing = False

    with contextlib.ExitStack() as stack:
        for path, part in parts_of(model):
            told = _hook_of(path, hook)
            stack.callback(part.register_forward_pre_hook(told, with_kwargs=True).remove)
        yield


def _hook_of(path: str, hook: Callable[..., None]) -> Callable[..., None]:
    return lambda part, args, kwargs: hook(path, part, args, kwargs)


def run_watched(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], see: See) -> Any:
    """What `model` returns, without gradients, while `see` watches its parts."""
    with torch.no_grad():
        if [part for _, part in parts_of(model)] == [model]:
            return see(("", 0), in_order(inspect.signature(model.forward), args, kwargs))
        with watched(model, see):
            return model(*args, **kwargs)
