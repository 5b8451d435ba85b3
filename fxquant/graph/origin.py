"""Where in the user's model a node comes from: carried in `node.meta["origin"]` through every pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.fx import Graph, GraphModule, Node


@dataclass(frozen=True)
class Origin:
    """The user's view of one node.

    `module_path`: the module itself for a module call, else the module whose forward contains the call ("" is the
    root). `module_type`: that module's class. `spelling`: what the user wrote: a module class, a function, or a tensor
    method's name. `source`: "file.py:12", where known, and `code`: that line. `part`: the path of the module that was
    captured as this graph, where the model's own code runs as Python around it. `call`: how many calls before it have
    all else in common.
    """

    module_path: str
    module_type: type | None
    spelling: type | Callable[..., Any] | str
    source: str | None = None
    part: str = ""
    call: int = 0
    code: str = field(default="", compare=False, repr=False)

    @property
    def local_path(self) -> str:
        """`module_path` as seen from the graph's own root, for the names of what the graph holds."""
        return self.module_path[len(self.part) :].removeprefix(".")

    @property
    def is_module_call(self) -> bool:
        """Whether the user called a module, rather than a function or a method."""
        return self.spelling is self.module_type

    @property
    def scope(self) -> str:
        """The path of the module in whose forward the call stands."""
        return self.module_path.rpartition(".")[0] if self.is_module_call else self.module_path

    @property
    def spelling_name(self) -> str:
        """The spelling as text, such as Conv2d, torch.relu or .view()."""
        if isinstance(self.spelling, str):
            return f".{self.spelling}()"
        name: str = getattr(self.spelling, "__name__", repr(self.spelling))
        for prefix, module in (("torch", torch), ("F", torch.nn.functional)):
            if getattr(module, name, None) is self.spelling:
                return f"{prefix}.{name}"
        return name

    def __str__(self) -> str:
        place = self.module_path or "the root module"
        return f"{place} ({self.spelling_name}{f', {self.source}' if self.source else ''})"


def type_of(module: nn.Module) -> type:
    """The class of a module of the user's; a GraphModule has one of its own, which no copy of it shares."""
    return GraphModule if isinstance(module, GraphModule) else type(module)


def number_calls(graph: Graph) -> None:
    """Tells the calls apart that have the same module, spelling and line, such as those of one relu used twice."""
    seen: Counter[Origin] = Counter()
    numbered: dict[int, Origin] = {}  # one call may have become several nodes, which share its origin
    for origin in filter(None, map(origin_of, graph.nodes)):
        alike = replace(origin, call=0)
        if id(origin) not in numbered:
            numbered[id(origin)] = replace(origin, call=seen[alike])
            seen[alike] += 1
    for node in graph.nodes:
        if (known := origin_of(node)) is not None:
            node.meta["origin"] = numbered[id(known)]


def origin_of(node: Node) -> Origin | None:
    """The node's origin, if it stands for something that the user wrote."""
    origin = node.meta.get("origin")
    return origin if isinstance(origin, Origin) else None


def where(node: Node) -> str:
    """The node's place in the user's model, for messages."""
    return str(origin_of(node) or node.name)


def path_of(node: Node) -> str:
    """As where, in one word: the path of a module that was called, or else the node's name."""
    origin = origin_of(node)
    return origin.module_path if origin and origin.is_module_call else node.name
