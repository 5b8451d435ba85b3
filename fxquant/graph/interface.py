"""The values that go into a graph and come out of it, in order."""

from __future__ import annotations

from torch.fx import GraphModule, Node
from torch.fx.node import map_arg


def inputs_of(gm: GraphModule) -> list[Node]:
    """The placeholders."""
    return [node for node in gm.graph.nodes if node.op == "placeholder"]


def output_of(gm: GraphModule) -> Node:
    """The node that returns."""
    found: Node = next(node for node in gm.graph.nodes if node.op == "output")
    return found


def outputs_of(gm: GraphModule) -> list[Node]:
    """What is returned: the leaves of the returned tuple, list or dict."""
    found: list[Node] = []
    map_arg(output_of(gm).args, found.append)
    return found
