"""Every op gets the qconfig that the user's QConfigMapping gives it, and the setting that gave it."""

from __future__ import annotations

from torch.fx import GraphModule

from fxquant.graph.matching import matches
from fxquant.graph.pipeline import register_pass


@register_pass(stage="annotate")
def annotate_qconfig(gm: GraphModule) -> GraphModule:
    for node, match in matches(gm, gm.meta["qconfig_mapping"]).items():
        node.meta["qconfig"] = match
    return gm
