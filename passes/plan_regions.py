"""int8 node, int8 node, ... -> Int8Region(...): one call for each maximal part of the graph that computes in int8.

A node's level is the number of native nodes on the longest way to it that a node of another kind follows. A way from
one native node to another over a node of another kind raises the level, so the native nodes of one level can run
together: after all that they read, before all that reads them.
"""

from __future__ import annotations

from torch import nn
from torch.fx import Graph, GraphModule, Node

from fxquant.graph import surgery
from fxquant.graph.annotation import is_several
from fxquant.graph.extract import extract
from fxquant.graph.integers import layer_of, program_values
from fxquant.graph.pipeline import register_pass
from fxquant.graph.shapes import asks_shape
from fxquant.runtime.planner import can_plan
from fxquant.runtime.region import Int8Region


@register_pass(stage="plan")
def plan_regions(gm: GraphModule) -> GraphModule:
    return extract(gm, _regions(gm), _region, "int8")


def _region(root: nn.Module, graph: Graph) -> Int8Region:
    return Int8Region(root, graph, Int8Region.__name__)


def _native(gm: GraphModule) -> set[Node]:
    """What a program can have: layers, nodes that move their values, and the sizes that these alone read."""
    values, sizes = program_values(gm), _sizes(gm)
    calls = [node for node in gm.graph.nodes if node.op.startswith("call_")]
    moves = {n for n in calls if (n in values or layer_of(gm, n) is not None) and can_plan(gm, n)}
    native = moves | sizes
    while stray := {n for n in native if not _fits(n, native, sizes)}:
        native -= stray
    return native


def _fits(node: Node, native: set[Node], sizes: set[Node]) -> bool:
    """Whether the sizes that a node reads are known to the program, and none that it gives is wanted elsewhere."""
    reads = all(surgery.is_tensor(x) or is_several(x) or x in native for x in node.all_input_nodes)
    return reads and (node not in sizes or all(user in native for user in node.users))


def _sizes(gm: GraphModule) -> set[Node]:
    """The nodes that compute with shapes alone."""
    found: set[Node] = set()
    for node in gm.graph.nodes:
        computes = node.op == "call_function" and node.all_input_nodes and found.issuperset(node.all_input_nodes)
        if (node.op.startswith("call_") and asks_shape(node)) or (computes and not surgery.is_tensor(node)):
            found.add(node)
    return found


def _regions(gm: GraphModule) -> list[list[Node]]:
    """The native nodes by level, each level in the graph's order, where a level has a layer at all."""
    regions: dict[int, list[Node]] = {}
    levels = _levels(gm)
    for node in gm.graph.nodes:
        if node in levels:
            regions.setdefault(levels[node], []).append(node)
    return [nodes for nodes in regions.values() if any(layer_of(gm, node) is not None for node in nodes)]


def _levels(gm: GraphModule) -> dict[Node, int]:
    """The level of every native node. A size that several levels read is computed in each, from the same shape."""
    levels: dict[Node, int] = {}
    native, sizes = _native(gm), _sizes(gm)
    for node in gm.graph.nodes:
        leaves = node not in native
        levels[node] = max((levels[x] + (leaves and x in native) for x in node.all_input_nodes), default=0)
    own = {node: level for node, level in levels.items() if node in native}
    for size in [node for node in reversed(gm.graph.nodes) if node in native & sizes and node.users]:
        first, *others = sorted({own[user] for user in size.users})
        own[size] = first
        for level in others:
            copy = surgery.duplicate(size)
            surgery.replace_in(copy, size, [user for user in size.users if own[user] == level])
            own[copy] = level
    return own
