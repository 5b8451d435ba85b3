"""Writes a finished model to a file: see container.py and document.py."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

from torch import Tensor, nn
from torch.fx import GraphModule, Node

from fxquant.analysis.explain import explain
from fxquant.arguments import typed
from fxquant.dynamic.recurrent import OPTIONS, Recurrent
from fxquant.errors import UnsupportedError
from fxquant.graph.origin import where
from fxquant.graph.parts import captures_of
from fxquant.runtime.layer import Layer
from fxquant.runtime.quantized_module import as_one_graph
from fxquant.runtime.region import Int8Region, outer_prefix
from fxquant.saving import container
from fxquant.saving.document import BUFFER, PARAMETER, UNSAVED
from fxquant.saving.leaves import arguments_of
from fxquant.saving.targets import ATTRIBUTES, knows_method, name_of
from fxquant.saving.values import encode


@typed
def save(model: Any, path: str | os.PathLike[str]) -> None:
    """Writes what `convert_fx` returned to the file `path`, for `fxquant.load`: one safetensors file, on any machine.

    The file holds the graph and the tensors of `model.state_dict()`, and no code.

    Raises ConfigError for any other model, PathError if the file cannot be written, and UnsupportedError, naming the
    place, for what has no form in a file: a module of the user's own that stayed as it is, code that runs as Python,
    or a function outside the op table.
    """
    model = as_one_graph(model, "fxquant.save")
    writer = _Writer()
    document = {
        "name": type(model).__name__,
        "graph": writer.graph(model, ""),
        "explanation": [asdict(row) for row in explain(model).rows],
        "captures": [asdict(each) for each in captures_of(model)],
        "inputs": [encode([shape and list(shape), dtype]) for shape, dtype in model.meta["inputs"]],
    }
    container.write(path, document, writer.tensors)


class _Writer:
    """Describes graphs and collects the tensors that they need."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}

    def graph(self, gm: GraphModule, prefix: str) -> dict[str, Any]:
        nodes = list(gm.graph.nodes)
        modules = {str(node.target): node for node in nodes if node.op == "call_module"}
        tensors = dict.fromkeys(str(node.target) for node in nodes if node.op == "get_attr")
        return {
            "nodes": [self._node(node) for node in nodes],
            "modules": {path: self._placed(gm, node, prefix) for path, node in modules.items()},
            "tensors": {path: self._tensor(gm, path, prefix) for path in tensors},
        }

    def _node(self, node: Node) -> list[Any]:
        try:
            target = name_of(node.target) if node.op == "call_function" else node.target
            if node.op == "call_method" and not knows_method(target):
                raise UnsupportedError(f"it calls .{target}(), which is not in the op table")
            if node.target is getattr and node.args[1] not in ATTRIBUTES:
                raise UnsupportedError(f"it reads .{node.args[1]}")
            return [node.op, node.name, target, encode(list(node.args)), encode(dict(node.kwargs))]
        except UnsupportedError as error:
            raise UnsupportedError(f"{where(node)} cannot be saved: {error}") from None

    def _placed(self, gm: GraphModule, node: Node, prefix: str) -> dict[str, Any]:
        path = str(node.target)
        try:
            return self._module(gm.get_submodule(path), f"{prefix}{path}.")
        except UnsupportedError as error:
            raise UnsupportedError(f"{where(node)} cannot be saved: {error}") from None

    def _module(self, module: nn.Module, prefix: str) -> dict[str, Any]:
        if isinstance(module, Int8Region):
            return {"region": self.graph(module, outer_prefix(prefix))}
        if isinstance(module, GraphModule):
            return {"graph": self.graph(module, prefix), "name": type(module).__name__}
        if isinstance(module, Recurrent):
            layers = {name: self._module(layer, f"{prefix}{name}.") for name, layer in module.named_children()}
            options = {name: getattr(module, name) for name in OPTIONS}
            return {"sequences": type(module).__name__, "options": encode(options), "layers": layers}
        own = dict(module.named_buffers(recurse=False)) if isinstance(module, Layer) else module.state_dict()
        self.tensors.update({f"{prefix}{name}": tensor for name, tensor in own.items()})
        if isinstance(module, Layer):
            settings = {name: _setting(value) for name, value in module.settings.items()}
            return {"layer": type(module).__name__, "settings": settings, "where": module.where}
        return {"nn": type(module).__name__, "arguments": encode(arguments_of(module))}

    def _tensor(self, gm: GraphModule, path: str, prefix: str) -> str:
        owner_path, _, name = path.rpartition(".")
        owner = gm.get_submodule(owner_path)
        self.tensors[f"{prefix}{path}"] = getattr(owner, name)
        if name in owner._parameters:
            return PARAMETER
        return UNSAVED if name in owner._non_persistent_buffers_set else BUFFER


def _setting(value: Any) -> Any:
    """A constant of a layer, or the class of a NamedTuple whose fields are constants themselves."""
    return {"fields": value.__name__} if isinstance(value, type) else encode(value)
