"""Symbolic tracing without an example: what torch.fx's own tracer records, and where each call comes from.

node.meta["origin"]   the user's module, spelling and line, of every call
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from types import FunctionType
from typing import Any

from torch import nn
from torch.fx import Graph, Node, Proxy
from torch.fx import Tracer as FxTracer

from fxquant.errors import TraceError
from fxquant.graph.origin import Origin, type_of
from fxquant.graph.source import running_line
from fxquant.graph.trace_error import failure
from fxquant.graph.transformer import TRANSFORMERS, plain_transformers
from fxquant.graph.value_proxy import RecordedProxy
from fxquant.ops.op import SPELLINGS

_CONTAINERS = (nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict)
_NOT_COMPUTING = {"__init__", "__repr__", "extra_repr", "reset_parameters", "_get_name"}


def nn_class(module: nn.Module) -> type[nn.Module] | None:
    """The class that says what `module` computes: one of torch.nn, its own or one that it extends without overriding.

    Its own, too, if there is a spelling for that. None for containers and for modules with code of their own.
    """
    if type(module) in SPELLINGS and "forward" not in vars(module):
        return type(module)
    lineage = type(module).__mro__
    base = next(kind for kind in lineage if kind.__module__.startswith("torch.nn."))
    if base in _CONTAINERS or "forward" in vars(module):
        return None
    for kind in lineage[: lineage.index(base)]:
        code = {name for name, value in vars(kind).items() if isinstance(value, (FunctionType, property))}
        if any(hasattr(base, name) for name in code - _NOT_COMPUTING):
            return None
    return base


class PlainTracer(FxTracer):
    """torch.fx's tracer, with origins and in-place operators. Modules of torch.nn are not looked into.

    `leaf_names`, `leaf_classes`: further modules that stay calls. `part`: the path in the user's model of what is
    traced.
    """

    def __init__(self, leaf_names: Collection[str] = (), leaf_classes: Collection[type] = (), part: str = "") -> None:
        super().__init__(param_shapes_constant=True)
        self.leaf_names = frozenset(leaf_names)
        self.leaf_classes = tuple(leaf_classes)
        self.part = part
        self.origin: Origin | None = None  # of what is recorded next, where it does not follow from the running line

    def capture(self, root: nn.Module) -> Graph:
        """The graph of `root`. Raises TraceError."""
        try:
            with plain_transformers():
                graph = self.trace(root)
        except Exception as error:
            why = failure("", type(root), error)
            raise TraceError(f"cannot capture {type(root).__name__} without example_inputs: {why}") from error
        graph._tracer_cls = None  # a pickled GraphModule is read back by torch.fx's own tracer
        return graph

    def proxy(self, node: Node) -> Proxy:
        return RecordedProxy(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if module_qualified_name in self.leaf_names or isinstance(m, self.leaf_classes):
            return True
        if type(m) in TRANSFORMERS:
            return False
        return nn_class(m) is not None or super().is_leaf_module(m, module_qualified_name)

    def create_node(
        self, kind: str, target: Any, args: Any, kwargs: Any, name: Any = None, type_expr: Any = None
    ) -> Node:
        node = super().create_node(kind, target, args, kwargs, name, type_expr)
        if kind in ("call_function", "call_method", "call_module"):
            self._stamp(node)
        return node

    def _stamp(self, node: Node) -> None:
        if self.origin is not None:
            node.meta["origin"] = self.origin
            return
        line = running_line(sys._getframe(2), type(self).capture.__code__)
        path = self._path_of(node)
        module = self.root.get_submodule(path)
        spelling = type_of(module) if node.op == "call_module" else node.target
        place, code = (line.place, line.text) if line else (None, "")
        node.meta["origin"] = Origin(self._in_model(path), type_of(module), spelling, place, self.part, code=code)
        if line:
            node.stack_trace = str(line)

    def _path_of(self, node: Node) -> str:
        """The path, from the traced root, of the module that `node` calls or that it is in the code of."""
        return self.scope.module_path

    def _in_model(self, path: str) -> str:
        return ".".join(filter(None, (self.part, path)))
