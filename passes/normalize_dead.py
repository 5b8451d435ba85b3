"""Unused results are removed, with the parameters and modules that only they needed; nodes are named anew."""

from __future__ import annotations

from torch.fx import GraphModule

from fxquant.graph import surgery
from fxquant.graph.pipeline import register_pass


@register_pass(stage="normalize")
def normalize_dead(gm: GraphModule) -> GraphModule:
    return surgery.renumber(surgery.clean(gm))
