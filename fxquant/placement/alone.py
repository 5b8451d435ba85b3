"""One unit of a prepared graph as a model of its own, to be measured."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Hashable
from typing import Any

from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_arg

from fxquant.errors import CalibrationWarning
from fxquant.graph import surgery
from fxquant.graph.annotation import is_compound
from fxquant.graph.shapes import Unknown, number_of
from fxquant.graph.watching import readers_of, value_of
from fxquant.observer import ObserverBase
from fxquant.ops.op import op_name
from fxquant.placement.overhead import run_passes
from fxquant.placement.units import Unit


def alone(gm: GraphModule, unit: Unit) -> GraphModule | None:
    """The nodes of `unit` with placeholders for the tensors that they read; parameters and observers are `gm`'s.

    None if a node reads a number that the shapes of the example do not decide, or is a recurrence, whose states others
    take out of it: it stays in int8.
    """
    if any(map(is_compound, unit)):
        return None
    graph = Graph()
    copies: dict[Node, Any] = {}
    try:
        for node in _sources(unit):
            copies[node] = _source(gm, graph, node, copies)
    except Unknown:
        return None
    for node in unit:
        copies[node] = graph.node_copy(node, lambda x: copies[value_of(x)])
    read_outside = [node for node in unit if set(readers_of(node)) - set(unit)]
    graph.output(tuple(copies[node] for node in read_outside))
    single = GraphModule(gm, graph)
    single.meta.update(gm.meta)
    for name in {node.meta["observer"] for node in graph.nodes if "observer" in node.meta}:
        single.add_submodule(name, gm.get_submodule(name))
    return single


def _sources(unit: Unit) -> list[Node]:
    """What the unit reads from outside, placeholders-to-be first; a parameter before its observer."""
    read = dict.fromkeys(value_of(x) for node in unit for x in node.all_input_nodes)
    outside = [x for x in read if x not in unit]
    behind = [x.args[0] for x in outside if x.op == "call_module" and not surgery.is_tensor(x)]
    return sorted({*outside, *behind}, key=lambda x: (x.op in ("get_attr", "call_module"), x))  # type: ignore[arg-type]


def _source(gm: GraphModule, graph: Graph, node: Node, copies: dict[Node, Any]) -> Any:
    """`node` as a unit reads it: a parameter, an observer's call on one, a placeholder for a tensor, or a number."""
    if node.op == "get_attr":
        return graph.node_copy(node)
    if node.op == "call_module" and isinstance(gm.get_submodule(str(node.target)), ObserverBase):
        return graph.node_copy(node, copies.__getitem__)
    if not surgery.is_tensor(node):
        return number_of(node)
    placeholder = graph.placeholder(node.name)
    placeholder.meta = {key: node.meta[key] for key in ("shape", "dtype", "observer") if key in node.meta}
    return placeholder


def in_int8(single: GraphModule) -> GraphModule:
    """What `convert_fx` would make of `single`, between a quantize and a dequantize. `single` is not modified."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)  # the conversion itself warns
        return run_passes(copy.deepcopy(single), ("convert", "fold", "lower"))


def signature(single: GraphModule) -> tuple[Hashable, ...]:
    """Equal for units that compute the same on the same shapes, with whatever parameters."""
    number = {node: i for i, node in enumerate(single.graph.nodes)}
    return tuple(
        (
            node.op if node.op in ("placeholder", "get_attr") else op_name(single, node),
            node.meta.get("shape"),
            str(map_arg((node.args, node.kwargs), lambda x: f"%{number[x]}")),
        )
        for node in single.graph.nodes
        if node.op != "output"
    )
