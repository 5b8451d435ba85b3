"""GraphModule -> Drawing: one node for each fx node but the constants, which belong to the node that reads them, and
checks of arguments.

Of regions that run as one, the nodes within are shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from fxquant.drawing.boxes import boxes_around
from fxquant.drawing.model import Drawing, DrawnNode, Edge, Value
from fxquant.drawing.values import (
    LONGEST,
    bytes_of,
    histogram_of_observer,
    histogram_of_weight,
    is_observer,
    qparams_of,
    value_of,
    weights_of,
)
from fxquant.errors import ConfigError
from fxquant.graph.annotation import quant_of
from fxquant.graph.expect import CHECKS
from fxquant.graph.extract import inlining
from fxquant.graph.origin import Origin, origin_of
from fxquant.graph.parts import parts_of
from fxquant.graph.surgery import absorbed_origins, fetch
from fxquant.graph.watching import is_statistic
from fxquant.ops.op import op_name, op_of
from fxquant.runtime.layer import Layer
from fxquant.runtime.region import Int8Region


def drawing_of(model: nn.Module) -> Drawing:
    """What is drawn of a model after any stage. `model` is not modified.

    Of a model whose own code runs as Python, the graphs that were captured within it. Raises ConfigError for a model
    that holds no graph.
    """
    return described(model)[0]


def described(model: nn.Module) -> tuple[Drawing, dict[Node, str]]:
    """The drawing, and the name in it of every node of the model's graphs that is drawn."""
    graphs = {"": model} if isinstance(model, GraphModule) else dict(parts_of(model))
    if not graphs:
        raise ConfigError(
            f"{type(model).__name__} holds no graph to draw; draw what fuse_fx, prepare_fx or convert_fx returned, "
            "or a torch.fx.GraphModule"
        )
    described = [_Description(gm, f"{path}/" if path else "") for path, gm in graphs.items()]
    scopes = {name: scope for each in described for name, scope in each.scopes.items()}
    boxes, box_of = boxes_around([(scope, name) for name, scope in scopes.items()])
    nodes = tuple(replace(node, box=box_of[node.name]) for each in described for node in each.nodes)
    edges = tuple(edge for each in described for edge in each.edges)
    names = {node: name for each in described for node, name in each.names.items()}
    title = model.meta.get("name") if isinstance(model, GraphModule) else None
    return Drawing(str(title or type(model).__name__), nodes, edges, boxes), names


class _Description:
    """One graph. `prefix` makes its names unique among those of several."""

    def __init__(self, gm: GraphModule, prefix: str) -> None:
        self.gm, copies = inlining(gm, Int8Region)
        self.prefix = prefix
        self.rows = {row.node: row for row in gm.meta.get("explanation", ())}
        self.constants: dict[Node, dict[str, Tensor]] = {}
        self.kinds: dict[Node, str] = {}
        self.integers: set[Node] = set()  # the nodes that give integers
        self.values: dict[Node, Value] = {}
        self.nodes: list[DrawnNode] = []
        self.edges: list[Edge] = []
        self.labelled: set[Node] = set()
        self.scopes: dict[str, tuple[str, ...]] = {}
        for node in self.gm.graph.nodes:
            self._visit(node)
        self.names = {node: prefix + copy.name for node, copy in copies.items() if copy in self.kinds}

    def _visit(self, node: Node) -> None:
        module = self.gm.get_submodule(str(node.target)) if node.op == "call_module" else None
        read = node.all_input_nodes
        if node.op == "get_attr" or (is_observer(module) and read and all(x in self.constants for x in read)):
            self.constants[node] = self._constants(node)
            return
        if (
            node.target in CHECKS
            or is_statistic(node)
            or (node.users and all(user.target in CHECKS for user in node.users))
        ):
            return
        self.kinds[node] = kind_of(self.gm, node, module, any(x in self.integers for x in read))
        if self.kinds[node] == "int8" and not (isinstance(module, Layer) and not module.gives_integers):
            self.integers.add(node)
        self.values[node] = self._value(node, module)
        self.nodes.append(self._described(node, module))
        self.scopes[self.nodes[-1].name] = self._scope(node)
        for source in read:
            if source in self.kinds:
                self.edges.append(Edge(self.prefix + source.name, self.nodes[-1].name, source not in self.labelled))
                self.labelled.add(source)

    def _constants(self, node: Node) -> dict[str, Tensor]:
        if node.op != "get_attr":
            return {name: tensor for x in node.all_input_nodes for name, tensor in self.constants[x].items()}
        try:
            return {str(node.target).rpartition(".")[2]: fetch(self.gm, node)}
        except TypeError:  # something else than a tensor
            return {}

    def _value(self, node: Node, module: nn.Module | None) -> Value:
        integers, read = node in self.integers, [x for x in node.all_input_nodes if x in self.values]
        value = value_of(node, qparams_of(node, module), integers)
        handed_on = self.values[read[0]] if read else Value()
        if is_observer(module):
            return replace(value, shape=handed_on.shape, dtype=handed_on.dtype)
        if integers and not value.note and value.scale is None:  # data movement
            return replace(value, scale=handed_on.scale, zero_point=handed_on.zero_point, note=handed_on.note)
        return value

    def _described(self, node: Node, module: nn.Module | None) -> DrawnNode:
        origin, quant, row = origin_of(node), quant_of(node), self.rows.get(node.name)
        tensors = {name: t for x in node.all_input_nodes for name, t in self.constants.get(x, {}).items()}
        if module is not None and not is_observer(module):
            tensors |= {name: t for name, t in (*module.named_parameters(), *module.named_buffers()) if t.dim()}
        histograms = [histogram_of_observer(module), histogram_of_observer(self._observer(node))]
        histograms += [histogram_of_weight(name, t) for name, t in tensors.items() if "weight" in name]
        return DrawnNode(
            name=self.prefix + node.name,
            op={"placeholder": "input", "output": "output"}.get(node.op) or op_name(self.gm, node),
            kind=self.kinds[node],
            value=self.values[node],
            place=origin.module_path if origin else row.place if row else "",
            absorbed=tuple(o.spelling_name for o in absorbed_origins(node)) or ((row.op, *row.absorbed) if row else ()),
            source=(origin.source or "") if origin else "",
            code=origin.code if origin else "",
            reason=self._reason(node, quant.reason) if self.kinds[node] == "float" else "",
            arguments=_arguments(node, module),
            statistics=module.extra_repr() if module is not None and is_observer(module) else "",
            weights=weights_of(tensors),
            histograms=tuple(filter(None, histograms)),
            bytes=0 if is_observer(module) else bytes_of(node, node in self.integers),
        )

    def _reason(self, node: Node, decided: str) -> str:
        """Why the node is float. A model read from a file knows it from its explanation alone, as it does places."""
        row = self.rows.get(node.name)
        return decided or str(node.meta.get("reason", "")) or (row.reason if row else "")

    def _observer(self, node: Node) -> nn.Module | None:
        path = node.meta.get("observer")
        return self.gm.get_submodule(path) if isinstance(path, str) and _has(self.gm, path) else None

    def _scope(self, node: Node) -> tuple[str, ...]:
        """The module whose box the node is drawn in; what the user did not write stands beside what it reads."""
        beside = [self.scopes[self.prefix + x.name] for x in node.all_input_nodes if x in self.kinds]
        if origin_of(node) is not None or self.kinds[node] == "border":
            return _scope_of(origin_of(node))
        row = self.rows.get(node.name)
        if row is not None and row.place:
            return tuple(row.place.split(".")[:-1])
        return beside[0] if beside else _scope_of(next(filter(None, map(origin_of, node.users)), None))


def _scope_of(origin: Origin | None) -> tuple[str, ...]:
    return tuple(origin.scope.split(".")) if origin is not None and origin.scope else ()


def kind_of(gm: GraphModule, node: Node, module: nn.Module | None, reads_integers: bool) -> str:
    """A key of KINDS for a node.

    Only integer kernels and data movement accept int8 values, so whatever reads one and is no dequantize is int8 too.
    """
    if node.op == "placeholder":
        return "int8" if "qparams" in node.meta else "border"
    if node.op == "output":
        return "border"
    if is_observer(module):
        return "observer"
    if isinstance(module, Layer):
        return "int8" if module.gives_integers or (module.takes_integers and not module.at_boundary) else "float"
    name = op_name(gm, node)
    if name == "quantize" or (reads_integers and name != "dequantize" and not _is_number(node)):
        return "int8"
    if _is_number(node):
        return "number"
    return "planned" if quant_of(node).int8 else "float"


def _is_number(node: Node) -> bool:
    """Whether the example showed a value that is no tensor of reals."""
    dtype, shape = node.meta.get("dtype"), node.meta.get("shape")
    return not dtype.is_floating_point if isinstance(dtype, torch.dtype) else "dtype" in node.meta and shape is None


def _arguments(node: Node, module: nn.Module | None) -> dict[str, str]:
    """What the node is told beside the values that it reads."""
    row = op_of(node)
    named: Mapping[str, Any] = dict(node.kwargs)
    if isinstance(module, Layer):
        named = {name: value for name, value in module.settings.items() if not isinstance(value, type)}
    elif row is not None:
        named = row.bind(node)
    elif not isinstance(module, nn.Module):
        named = {**{str(i): value for i, value in enumerate(node.args)}, **named}
    return {k: str(v)[:LONGEST] for k, v in named.items() if v is not None and not isinstance(v, Node)}


def _has(gm: GraphModule, path: str) -> bool:
    try:
        gm.get_submodule(path)
    except AttributeError:
        return False
    return True
