"""Every op gets the qconfig that the user's QConfigMapping gives it, and the setting that gave it."""

from __future__ import annotations

from collections import defaultdict

from torch.fx import GraphModule

from fxquant.graph.origin import origin_of
from fxquant.graph.pipeline import register_pass
from fxquant.qconfig_mapping import QConfigMapping


@register_pass(stage="annotate")
def annotate_qconfig(gm: GraphModule) -> GraphModule:
    mapping: QConfigMapping = gm.meta["qconfig_mapping"]
    calls: dict[tuple[str, object], dict[int, int]] = defaultdict(dict)
    for node in gm.graph.nodes:
        origin = origin_of(node)
        if origin is None or node.op in ("placeholder", "get_attr", "output"):
            continue
        types = [t for t in (origin.module_type, origin.spelling) if t is not None]
        earlier = calls[origin.scope, origin.spelling]
        index = earlier.setdefault(id(origin), len(earlier))  # one call may have become several nodes
        node.meta["qconfig"] = mapping.qconfig_for(origin.module_path, types, order_index=index, scope=origin.scope)
    return gm
