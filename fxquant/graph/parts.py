"""The captured graphs of a model: the whole model, or, where the model's own code runs as Python, modules within it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeGuard

from torch import nn
from torch.fx import GraphModule, Node

from fxquant.graph.kept import attach_preserved_attrs_to_model, meta_of


@dataclass(frozen=True)
class Capture:
    """What became of the module at `path` ("" is the model).

    `how`: "symbolic trace", "torch.export" or "Python". `reason`: why the way before it did not do. `cost`: what that
    costs: code in float, shapes that became fixed.
    """

    path: str
    how: str
    reason: str = ""
    cost: str = ""


def captures_of(model: nn.Module) -> tuple[Capture, ...]:
    """How the parts of a model were captured, outermost first."""
    return tuple(meta_of(model).get("captures", ()))


def is_part(module: nn.Module) -> TypeGuard[GraphModule]:
    """Whether `module` is a graph that was captured from the user's model."""
    return isinstance(module, GraphModule) and "part" in module.meta


def parts_of(model: nn.Module) -> Iterator[tuple[str, GraphModule]]:
    """The captured graphs in `model`, by path, each once, those within a graph before it.

    A standalone module within is a model of its own, whose parts do not count.
    """
    for path, module in reversed(list(_modules(model, "", set()))):
        if is_part(module):
            yield path, module


def nodes_of(model: nn.Module) -> Iterator[tuple[GraphModule, Node]]:
    """The nodes of all captured graphs in `model`, each with its graph."""
    return ((part, node) for _, part in parts_of(model) for node in part.graph.nodes)


def _modules(model: nn.Module, path: str, seen: set[nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    seen.add(model)
    yield path, model
    for name, child in model.named_children():
        if child not in seen and "standalone" not in meta_of(child):
            yield from _modules(child, join(path, name), seen)


def join(path: str, name: str) -> str:
    """The path of what is called `name` within the module at `path`."""
    return ".".join(filter(None, (path, name)))


def map_parts(model: nn.Module, change: Callable[[GraphModule], GraphModule]) -> nn.Module:
    """`model` with change(part) in place of every part. Modifies the modules that hold parts."""
    for _, part in list(parts_of(model)):
        new = change(part)
        if part is model:
            return new
        replace_module(model, part, new)
    return model


def replace_module(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Lets `new` stand wherever `old` is a submodule within `model`."""
    if new is old:
        return
    asked = {name: value for name, value in vars(old).items() if not name.startswith("_") and not hasattr(new, name)}
    if isinstance(new, GraphModule):  # what the code around may ask of it, also after a copy
        attach_preserved_attrs_to_model(new, asked)
    for owner in list(model.modules()):
        for name, child in owner._modules.items():
            if child is old:
                owner._modules[name] = new
