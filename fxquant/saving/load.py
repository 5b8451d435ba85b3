"""Reads a finished model from a file: see container.py and document.py.

What a file says is checked before it is used, and code is never among it: names are looked up in lists of what is
known, and integer kernels meet only weights that were packed here, from numbers that were checked.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import astuple
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node

import fxquant.runtime.layers  # noqa: F401  fills LAYERS
from fxquant.analysis.explain import Row
from fxquant.arguments import typed
from fxquant.dynamic.recurrent import GRU, LSTM, RNN, Recurrent
from fxquant.errors import FileError, PathError
from fxquant.graph import surgery
from fxquant.graph.parts import Capture
from fxquant.graph.plugins import load_plugins
from fxquant.ops.op import OPS
from fxquant.runtime.constants import fits
from fxquant.runtime.layer import LAYERS, Layer
from fxquant.runtime.quantized_module import QuantizedModule, finished
from fxquant.runtime.region import Int8Region, outer_prefix
from fxquant.saving import container
from fxquant.saving.document import BUFFER, DEEPEST_GRAPH, PARAMETER, UNSAVED, checked_name, checked_path
from fxquant.saving.leaves import filled, leaf_class
from fxquant.saving.settings import settings_of
from fxquant.saving.targets import ATTRIBUTES, function_called, knows_method
from fxquant.saving.values import decode, shortened


@typed
def load(path: str | os.PathLike[str]) -> QuantizedModule:
    """The model that `fxquant.save` wrote to the file `path`, in eval mode. It runs no code from the file.

    Raises FileError if the file is damaged, of a later version, or holds anything that this fxquant does not know, and
    PathError, an OSError, if it cannot be read at all. Ops of installed plug-ins are known, and of those imported.
    """
    load_plugins()  # whose ops and layers the file may name
    try:
        document, tensors = container.read(path)
        return _Reader(tensors).model(document)
    except PathError:
        raise
    except Exception as error:  # whatever a file does to what reads it, users meet one kind of error
        reason = str(error) if isinstance(error, FileError) else f"it does not say what it should: {error!r:.200}"
        raise FileError(f"{path} cannot be loaded: {reason}") from error


class _Reader:
    """Builds modules from what a document says of them and from the file's tensors."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors
        self.read: set[str] = set()

    def model(self, document: Mapping[str, Any]) -> QuantizedModule:
        name = checked_name(document["name"])
        meta = {
            "part": "",
            "name": name,
            "captures": tuple(_capture(row) for row in document["captures"]),
            "explanation": tuple(_row(row) for row in document["explanation"]),
            "inputs": tuple(_input(row) for row in document["inputs"]),
        }
        root, graph = self.graph(document["graph"], "", DEEPEST_GRAPH)
        if unread := self.tensors.keys() - self.read:
            raise FileError(f"it holds tensors that nothing reads: {shortened(sorted(unread))}")
        return finished(GraphModule(root, graph, name).eval(), name, meta)

    def graph(self, content: Mapping[str, Any], prefix: str, depth: int) -> tuple[nn.Module, Graph]:
        if depth == 0:
            raise FileError("its graphs are nested too deeply")
        root, graph, nodes = nn.Module(), Graph(), dict[str, Node]()
        for path, module in sorted(content["modules"].items(), key=lambda item: item[0].count(".")):  # outer ones first
            surgery.place(root, checked_path(path), self._module(module, f"{prefix}{path}.", depth - 1))
        for path, kind in content["tensors"].items():
            self._tensor(root, checked_path(path), kind, prefix)
        for op, name, target, args, kwargs in content["nodes"]:
            if name in nodes:
                raise FileError(f"two nodes are called {name}")
            arguments, keywords = decode(args, nodes), decode(kwargs, nodes)
            target = _target(root, op, target, arguments, keywords)
            nodes[checked_name(name)] = graph.create_node(op, target, tuple(arguments), keywords, name)
        if [n.op for n in graph.nodes if n.op == "output"] != ["output"] or next(reversed(graph.nodes)).op != "output":
            raise FileError("a graph does not end in its one output")
        graph.lint()
        return root, graph

    def _module(self, content: Mapping[str, Any], prefix: str, depth: int) -> nn.Module:
        if "region" in content:
            return Int8Region(*self.graph(content["region"], outer_prefix(prefix), depth), Int8Region.__name__)
        if "graph" in content:
            return GraphModule(*self.graph(content["graph"], prefix, depth), checked_name(content["name"])).eval()
        if "sequences" in content:
            return self._sequences(content, prefix)
        state = {n.removeprefix(prefix): tensor for n, tensor in self.tensors.items() if n.startswith(prefix)}
        if "layer" in content:
            state = {name: tensor for name, tensor in state.items() if "." not in name}  # others are of layers inside
        self.read.update(prefix + name for name in state)
        if "layer" in content:
            kind = next((layer for layer in LAYERS.values() if layer.__name__ == content["layer"]), None)
            if kind is None:
                what = f"it holds a layer of the unknown class {shortened(content['layer'])}"
                raise FileError(f"{what}; if a plug-in brings it, install that, or import it first")
            return _layer(kind, content, state)
        if "nn" in content:
            return filled(leaf_class(content["nn"]), decode(content["arguments"], {}), state)
        raise FileError(f"it holds the module {shortened(content)}, of no known kind")

    def _sequences(self, content: Mapping[str, Any], prefix: str) -> Recurrent:
        kind = next((kind for kind in (LSTM, GRU, RNN) if kind.__name__ == content["sequences"]), None)
        layers = content["layers"]
        if kind is None or not all("layer" in layer for layer in layers.values()):
            raise FileError(f"it holds the recurrent module {shortened(content)}, of no known kind")
        made = {checked_name(name): self._module(layer, f"{prefix}{name}.", 0) for name, layer in layers.items()}
        return kind.of_layers(decode(content["options"], {}), made)

    def _tensor(self, root: nn.Module, path: str, kind: object, prefix: str) -> None:
        tensor = self.tensors[f"{prefix}{path}"]
        self.read.add(f"{prefix}{path}")
        if kind not in (PARAMETER, BUFFER, UNSAVED):
            raise FileError(f"{path} is neither a parameter nor a buffer, but {shortened(kind)}")
        surgery.set_constant(root, path, tensor)
        owner_path, _, name = path.rpartition(".")
        owner = root.get_submodule(owner_path)
        if kind == UNSAVED:
            owner._non_persistent_buffers_set.add(name)
        if kind == PARAMETER:
            del owner._buffers[name]
            owner.register_parameter(name, nn.Parameter(tensor, tensor.is_floating_point()))


def _layer(kind: type[Layer], content: Mapping[str, Any], state: Mapping[str, Tensor]) -> Layer:
    layer = kind.restored(settings_of(kind, content["settings"]), state)
    if not isinstance(content["where"], str):
        raise FileError(f"the place of a layer is {shortened(content['where'])}")
    layer.where = content["where"]
    return layer


def _target(root: nn.Module, op: object, target: object, args: Any, kwargs: Any) -> Any:
    """What a node calls or fetches, if it is known and takes such arguments."""
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise FileError("the arguments of a node are not a list and a dict")
    if op == "call_function":
        function = function_called(target)
        if function in OPS:
            OPS[function].signature.bind(*args, **kwargs)
        if function is getattr and (len(args) != 2 or not isinstance(args[1], str) or args[1] not in ATTRIBUTES):
            raise FileError(f"a node reads the attribute {shortened(args[1:])}")
        return function
    if op == "call_method":
        if not knows_method(target) or not args or not isinstance(args[0], Node):
            raise FileError(f"a node calls the method {shortened(target)}, which is not in the op table")
        return target
    if op == "call_module":
        root.get_submodule(checked_path(target))
        return target
    if op == "get_attr":
        owner, _, name = checked_path(target).rpartition(".")
        if not isinstance(getattr(root.get_submodule(owner), name), Tensor):
            raise FileError(f"{target} is no tensor")
        return target
    if op == "placeholder" and len(args) <= 1 and not kwargs:
        return checked_name(target)
    if op == "output" and len(args) == 1 and not kwargs and target == "output":
        return target
    raise FileError(f"a node is of the unknown kind {shortened(op)}")


def _row(content: Mapping[str, Any]) -> Row:
    row = Row(**{**content, "absorbed": tuple(content["absorbed"])})
    numbers = (row.int8_us, row.float_us)
    texts = (row.node, row.op, row.precision, row.place, *row.absorbed, row.reason)
    if not fits(texts, tuple[str, ...]) or not fits(numbers, tuple[float | None, ...]):
        raise FileError(f"a row of the explanation is {shortened(content)}")
    return row


def _capture(content: Mapping[str, Any]) -> Capture:
    capture = Capture(**content)
    if not fits(astuple(capture), tuple[str, ...]):
        raise FileError(f"a capture of the explanation is {shortened(content)}")
    return capture


def _input(content: Any) -> tuple[torch.Size | None, torch.dtype | None]:
    shape, dtype = decode(content, {})
    if shape is None and dtype is None:
        return None, None
    if not all(isinstance(size, int) and size >= 0 for size in shape) or not isinstance(dtype, torch.dtype):
        raise FileError(f"an example input is {shortened(content)}")
    return torch.Size(shape), dtype
