"""What corrections ask of a prepared graph: who reads a value behind its observer, and how large it is."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node

from fxquant.calibrate import bound_batch, in_order
from fxquant.errors import CalibrationError, ConfigError
from fxquant.graph import surgery
from fxquant.graph.kept import meta_of
from fxquant.graph.parts import is_part
from fxquant.graph.weights import readers_of
from fxquant.observer import ObserverBase
from fxquant.ops.op import op_of


def one_graph(prepared: nn.Module, who: str) -> GraphModule:
    """`prepared`, if it is what prepare_fx returned of a model that was captured as one graph; else ConfigError."""
    if "qconfig_mapping" not in meta_of(prepared) or not is_part(prepared):
        raise ConfigError(f"{who} takes what prepare_fx returned, of a model that was captured as one graph")
    return prepared


def name_of(node: Node) -> str:
    """The op that the node calls, or else what kind of node it is."""
    row = op_of(node)
    return row.name if row else node.op


def arguments_of(node: Node) -> dict[str, Any]:
    """The arguments of the op that the node calls, by name."""
    row = op_of(node)
    return row.bind(node) if row else {}


def behind(gm: GraphModule, node: Node) -> Node:
    """What an observer watches; any other node itself."""
    observed = node.op == "call_module" and isinstance(gm.get_submodule(str(node.target)), ObserverBase)
    return node.all_input_nodes[0] if observed else node


def readers(gm: GraphModule, node: Node) -> list[Node]:
    """Who reads a value, its observers seen through."""
    return [r for user in node.users for r in (readers(gm, user) if behind(gm, user) is not user else [user])]


def is_private(gm: GraphModule, node: Node, *roles: str) -> bool:
    """Whether these arguments are parameters, or None, which this node alone reads."""
    given = [behind(gm, n) for n in map(arguments_of(node).get, roles) if n is not None]
    return all(n.op == "get_attr" and readers_of(gm, n) == 1 for n in given)


def parameter_of(gm: GraphModule, node: Node, role: str) -> Tensor:
    """The tensor of an argument that is a parameter."""
    return surgery.fetch(gm, behind(gm, arguments_of(node)[role]))


def scale(gm: GraphModule, node: Node, role: str, factor: Tensor) -> None:
    """Multiplies an argument that is a parameter, if it is not None."""
    given = arguments_of(node)[role]
    if given is not None:
        target = str(behind(gm, given).target)
        surgery.set_parameter(gm, target, parameter_of(gm, node, role) * factor)


def forget(gm: GraphModule) -> None:
    """Lets all observers forget what they saw."""
    for module in gm.modules():
        if isinstance(module, ObserverBase):
            module.reset_min_max_vals()


def largest(gm: GraphModule, data: Iterable[Any], axes: Mapping[Node, int]) -> dict[Node, Tensor]:
    """The largest magnitude of each channel of these nodes' values, by the dimension of the channels.

    `data`: batches as for calibrate; nothing is observed. Raises CalibrationError if it holds none, InputError if one
    does not fit.
    """
    signature, runner, index = inspect.signature(gm.forward), _Largest(gm, axes), -1
    for index, batch in enumerate(data):
        args, kwargs = bound_batch(signature, batch, f"batch {index}")
        runner.run(*in_order(signature, args, kwargs))
    if index < 0:
        raise CalibrationError("data holds no batches; an iterator may be used up already")
    return runner.found


class _Largest(Interpreter):
    def __init__(self, gm: GraphModule, axes: Mapping[Node, int]) -> None:
        super().__init__(gm)
        self.axes = axes
        self.found: dict[Node, Tensor] = {}

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        if n in self.axes:
            magnitude = value.abs().movedim(self.axes[n], 0).flatten(1).amax(1)
            self.found[n] = torch.maximum(magnitude, self.found.get(n, magnitude))
        return value

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        observing = isinstance(self.fetch_attr(target), ObserverBase)
        return args[0] if observing else super().call_module(target, args, kwargs)
