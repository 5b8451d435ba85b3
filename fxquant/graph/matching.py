"""Which setting of a QConfigMapping applies to each node, by where in the user's model it comes from."""

from __future__ import annotations

from collections import defaultdict

from torch.fx import GraphModule, Node

from fxquant.graph.origin import Origin, origin_of
from fxquant.qconfig_mapping import Match, QConfigMapping


def matches(gm: GraphModule, mapping: QConfigMapping) -> dict[Node, Match]:
    """The match of every node that stands for a call of the user's."""
    found: dict[Node, Match] = {}
    for node, index in call_indices(gm).items():
        origin: Origin = node.meta["origin"]
        types = [t for t in (origin.module_type, origin.spelling) if t is not None]
        found[node] = mapping.qconfig_for(origin.module_path, types, order_index=index, scope=origin.scope)
    return found


def call_indices(gm: GraphModule) -> dict[Node, int]:
    """For every node that stands for a call of the user's, how many of its kind come before it in its forward."""
    found: dict[Node, int] = {}
    calls: dict[tuple[str, object], dict[int, int]] = defaultdict(dict)
    for node in gm.graph.nodes:
        origin = origin_of(node)
        if origin is None or node.op in ("placeholder", "get_attr", "output"):
            continue
        earlier = calls[origin.scope, origin.spelling]
        found[node] = earlier.setdefault(id(origin), len(earlier))  # one call may have become several nodes
    return found
