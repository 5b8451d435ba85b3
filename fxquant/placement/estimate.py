"""What a placement estimated, carried by nodes through every later pass, and how a finished graph shows it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple

from torch.fx import GraphModule, Node

from fxquant.graph.integers import layer_of


@dataclass(frozen=True)
class Estimate:
    """What the unit that begins with `node` takes in either precision, in seconds: in node.meta["estimates"]."""

    node: str
    int8: float
    float: float


@dataclass(frozen=True)
class Conversion:
    """What it takes to make integers of a value, and to make it real again, in seconds: in node.meta["conversion"]."""

    quantize: float
    dequantize: float


class Microseconds(NamedTuple):
    """What a node of a finished graph was estimated to take; None where there was nothing to choose."""

    int8: float | None = None
    float: float | None = None


def microseconds(gm: GraphModule) -> dict[Node, Microseconds]:
    """The estimates of a lowered graph. Where a unit became several nodes, they stand at its layer, or else the first.

    A conversion has its time in int8 only.
    """
    calls = [node for node in gm.graph.nodes if node.op.startswith("call_")]
    found = {node: _conversion(gm, node) for node in calls}
    for node, estimates in _by_node(gm, calls).items():
        found[node] = Microseconds(sum(e.int8 for e in estimates) * 1e6, sum(e.float for e in estimates) * 1e6)
    return found


def _conversion(gm: GraphModule, node: Node) -> Microseconds:
    layer, conversion = layer_of(gm, node), node.meta.get("conversion")
    if layer is None or not layer.at_boundary or conversion is None:
        return Microseconds()
    return Microseconds(int8=1e6 * (conversion.quantize if layer.gives_integers else conversion.dequantize))


def _by_node(gm: GraphModule, calls: list[Node]) -> dict[Node, list[Estimate]]:
    owner: dict[Estimate, Node] = {}
    for node in sorted(calls, key=lambda node: (layer_of(gm, node) is None, node)):
        for estimate in node.meta.get("estimates", ()):
            owner.setdefault(estimate, node)
    found: dict[Node, list[Estimate]] = defaultdict(list)
    for estimate, node in owner.items():
        found[node].append(estimate)
    return found
