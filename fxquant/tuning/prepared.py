"""What corrections ask of a prepared graph: arguments by name, values and their readers without observers between."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.fx import GraphModule, Node

from fxquant.graph import surgery
from fxquant.graph.watching import is_statistic
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


def twin(gm: GraphModule, node: Node, roles: Sequence[str], layers: Sequence[Node]) -> Node:
    """Another node that computes what `node` does, which `layers` read in its place.

    Its arguments in `roles` are parameters of its own, and so is what observes it.
    """
    made = surgery.duplicate(node)
    given = arguments_of(made)
    for role in roles:
        if given[role] is not None:
            target = str(behind(gm, given[role]).target)
            given[role] = surgery.parameter(gm, target, parameter_of(gm, node, role).clone(), made, replacing=False)
    surgery.give(made, given)
    for old in (node, *(user for user in list(node.users) if behind(gm, user) is node)):
        reading = [user for user in old.users if user in layers or _learns_for(user, layers)]
        if reading:
            surgery.replace_in(made if old is node else _watched_anew(gm, made, old), old, reading)
    return made


def _learns_for(node: Node, layers: Sequence[Node]) -> bool:
    """Whether `node` only learns something for one of these layers, whose weight it reads, too."""
    return is_statistic(node) and any(arguments_of(layer)["weight"] in node.all_input_nodes for layer in layers)


def _watched_anew(gm: GraphModule, node: Node, watcher: Node) -> Node:
    """A call, for `node`, of an observer like that of `watcher`."""
    name = surgery.add_module(gm, str(watcher.target), copy.deepcopy(gm.get_submodule(str(watcher.target))))
    node.meta["observer"] = name
    return surgery.call_module(surgery.next_node(node), name, node)
