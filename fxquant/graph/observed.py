"""The class of a prepared model."""

from __future__ import annotations

from torch.fx import GraphModule

from fxquant.drawing.notebook import ShownInNotebooks


class ObservedGraphModule(ShownInNotebooks, GraphModule):
    """What prepare_fx returns: the model in float, with observers."""


def observed(gm: GraphModule) -> ObservedGraphModule:
    """`gm` as an ObservedGraphModule, with its meta."""
    made = ObservedGraphModule(gm, gm.graph, gm.meta["name"])
    made.train(gm.training)
    made.meta.update(gm.meta)
    return made
