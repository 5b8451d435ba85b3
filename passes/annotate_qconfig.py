"""Every op gets the qconfig that the user's QConfigMapping gives it, and the setting that gave it."""

from __future__ import annotations

from collections import Counter

from torch.fx import GraphModule

from fxquant.graph.origin import origin_of
from fxquant.graph.pipeline import register_pass
from fxquant.qconfig_mapping import QConfigMapping


@register_pass(stage="annotate")
def annotate_qconfig(gm: GraphModule) -> GraphModule:
    mapping: QConfigMapping = gm.meta["qconfig_mapping"]
    seen: Counter[tuple[str, object]] = Counter()
    for node in gm.graph.nodes:
        origin = origin_of(node)
        if origin is None or node.op in ("placeholder", "get_attr", "output"):
            continue
        place = (origin.module_path, origin.spelling)
        types = [t for t in (origin.module_type, origin.spelling) if t is not None]
        node.meta["qconfig"] = mapping.qconfig_for(origin.module_path, types, order_index=seen[place])
        seen[place] += 1
    return gm
