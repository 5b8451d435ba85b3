"""layer(x, w_observer(w), b) -> the same, and mean(x, w_observer(w)) beside it, for every layer that rounds its weight.

Nothing reads the mean but convert_biases. In quantized training there is none: it settles the biases by itself. Nor is
there one for float16: what its rounding adds to a sum is far less than what chance adds to a mean of few rows. A layer
of dynamic activations, or of none, needs no data to be converted; its bias is corrected if some was seen.
"""

from __future__ import annotations

from torch.fx import GraphModule, Node

from fxquant.graph import surgery
from fxquant.graph.annotation import rounds_weight
from fxquant.graph.origin import where
from fxquant.graph.pipeline import register_pass
from fxquant.graph.watching import STATISTIC
from fxquant.observer.mean import MeanObserver
from fxquant.ops.op import op_of

from .annotate_weight_only import wants_float16_weights

_CHANNELS = {"linear": -1, "conv1d": 1, "conv2d": 1, "conv3d": 1}  # which dimension of x they are


@register_pass(stage="observe")
def observe_means(gm: GraphModule) -> GraphModule:
    if gm.meta.get("trains"):
        return gm
    for node in list(gm.graph.nodes):
        row = op_of(node)
        if (
            row is None
            or row.name not in _CHANNELS
            or not rounds_weight(node)
            or wants_float16_weights(node.meta["qconfig"])
        ):
            continue
        arguments = row.bind(node)
        weight: Node = arguments["weight"]
        observer = MeanObserver(_CHANNELS[row.name])
        observer.where = f"the input of {where(node)}"
        name = surgery.add_module(gm, f"{weight.args[0].target}_input_observer", observer)  # type: ignore[union-attr]
        surgery.call_module(node, name, arguments["x"], weight).meta[STATISTIC] = True
    return surgery.clean(gm)
