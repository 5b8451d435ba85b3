"""What corrections ask of a prepared graph: arguments by name, values and their readers without observers between."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.fx import GraphModule, Node

from fxquant.graph import surgery
from fxquant.graph.weights import readers_of
from fxquant.observer import ObserverBase
from fxquant.ops.op import op_of


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
