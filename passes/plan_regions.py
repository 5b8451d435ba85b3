"""int8 node, int8 node, ... -> Int8Region(...): one call for each maximal part of the graph that computes in int8.

A node's level is the number of native nodes on the longest way to it that a node of another kind follows. A way from
one native node to another over a node of another kind raises the level, so the native nodes of one level can run
together: after all that they read, before all that reads them.
"""

from __future__ import annotations

import sys

import torch
from torch import nn
from torch.fx import Graph, GraphModule, Node

from fxquant.graph import surgery
from fxquant.graph.annotation import is_several
from fxquant.graph.extract import extract
from fxquant.graph.integers import layer_of, program_values
from fxquant.graph.pipeline import register_pass
from fxquant.graph.sizes import sizes, tensors_of_sizes
from fxquant.ops.op import op_of
from fxquant.runtime.planner import can_plan
from fxquant.runtime.region import Int8Region

_OUTSIDE = sys.maxsize  # in place of a level


@register_pass(stage="plan")
def plan_regions(gm: GraphModule) -> GraphModule:
    return extract(gm, _regions(gm), _region, "int8")


def _region(root: nn.Module, graph: Graph) -> Int8Region:
    return Int8Region(root, graph, Int8Region.__name__)


def _native(gm: GraphModule) -> tuple[set[Node], set[Node]]:
    """What a program can have: layers and nodes that move their values; and what leads to these."""
    values = program_values(gm)
    layers = {n for n in _calls(gm) if (n in values or layer_of(gm, n) is not None) and can_plan(gm, n)}
    known = tensors_of_sizes(gm)
    leading = (sizes(gm) | known | {n for n in _calls(gm) if _moves_indices(gm, n)}) - layers
    native = layers | leading
    while stray := {n for n in native if not (_fits(n, native, leading) and (n not in known or _is_known(n, native)))}:
        native -= stray
    return native - leading, native & leading


def _calls(gm: GraphModule) -> list[Node]:
    return [node for node in gm.graph.nodes if node.op.startswith("call_")]


def _moves_indices(gm: GraphModule, node: Node) -> bool:
    """Whether the node moves what is no activation: a mask, or positions."""
    row = op_of(node)
    of_integers = node.meta.get("dtype") in (torch.bool, torch.int32, torch.int64)
    return row is not None and row.moves and of_integers and can_plan(gm, node)


def _fits(node: Node, native: set[Node], leading: set[Node]) -> bool:
    """Whether the sizes that a node reads are known to the program, and what only leads to others does so there.

    A size may also lead elsewhere: it is computed there, too. A check of sizes leads nowhere.
    """
    reads = all(surgery.is_tensor(x) or is_several(x) or x in native for x in node.all_input_nodes)
    wanted = all if surgery.is_tensor(node) else any
    return reads and (node not in leading or not node.users or wanted(user in native for user in node.users))


def _is_known(node: Node, native: set[Node]) -> bool:
    """Whether a tensor of sizes, none of whose numbers come from outside, follows from what the program knows."""
    return native.issuperset(node.all_input_nodes)


def _regions(gm: GraphModule) -> list[list[Node]]:
    """The native nodes by level, each level in the graph's order, where a level has a layer at all."""
    regions: dict[int, list[Node]] = {}
    levels = _levels(gm)
    for node in gm.graph.nodes:
        if node in levels:
            regions.setdefault(levels[node], []).append(node)
    return [nodes for nodes in regions.values() if any(layer_of(gm, node) is not None for node in nodes)]


def _levels(gm: GraphModule) -> dict[Node, int]:
    """The level of every native node.

    What leads to others has the level of the first of them. What follows from sizes alone, and is read by several
    levels, is computed in each, from the same shape, and so it is outside, if something there reads it.
    """
    layers, leading = _native(gm)
    native = layers | leading
    known = sizes(gm) | tensors_of_sizes(gm)
    inside: dict[Node, int] = {}  # the first level that may have the node
    behind: dict[Node, int] = {}  # the first one that may have what reads it outside of a region
    for node in gm.graph.nodes:
        levels = inside if node in native else behind
        inside[node] = max((levels[x] for x in node.all_input_nodes), default=0)
        behind[node] = inside[node] + 1 if node in layers else max((behind[x] for x in node.all_input_nodes), default=0)
    own = {node: level for node, level in inside.items() if node in native}
    for node in [node for node in reversed(gm.graph.nodes) if node in leading and node.users]:
        first, *others = sorted({own.get(user, _OUTSIDE) for user in node.users})
        own[node] = first
        for level in others if node in known else ():
            copy = surgery.duplicate(node)
            surgery.replace_in(copy, node, [user for user in node.users if own.get(user, _OUTSIDE) == level])
            if level != _OUTSIDE:
                own[copy] = level
    return own
