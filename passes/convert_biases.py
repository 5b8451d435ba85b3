"""b -> b + (w - dequantize(quantize(w))) @ mean(x): what rounding its weight adds to a layer's mean leaves its bias.

    E[w x] - E[w' x] = (w - w') E[x]        w' the rounded weight, E[x] per input channel, of the calibration data

Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction" (arXiv:1906.04721), section
4.2, with measured means of the inputs, which `MeanObserver.expected` makes less of, the fewer values they are of. At
the border of a padded image, where x is 0, it is an approximation. What the rounding of activations adds is left to
`correct_biases`, which measures what this leaves.
"""

from __future__ import annotations

import torch
from torch.fx import GraphModule, Node

from fxquant import qparams
from fxquant.graph import surgery
from fxquant.graph.annotation import rounds_weight
from fxquant.graph.pipeline import register_pass
from fxquant.graph.watching import is_statistic
from fxquant.graph.weights import mean_of_products, set_bias
from fxquant.observer.mean import MeanObserver
from fxquant.ops.op import op_of

from .convert_weights import learned


@register_pass(stage="convert")
def convert_biases(gm: GraphModule) -> GraphModule:
    for node in list(gm.graph.nodes):
        if is_statistic(node):
            _correct(gm, node)
    return surgery.clean(gm)


def _correct(gm: GraphModule, node: Node) -> None:
    observer, observed = gm.get_submodule(str(node.target)), node.args[1]
    assert isinstance(observer, MeanObserver)
    assert isinstance(observed, Node)
    layer = next((user for user in observed.users if user is not node and rounds_weight(user)), None)
    if layer is None or not observer.observed:
        return
    row = op_of(layer)
    assert row is not None
    real, q = learned(gm, observed)
    error = real.double() - qparams.dequantize(qparams.quantize(real, q), q).double()
    shift = mean_of_products(error, observer.expected, row.bind(layer).get("groups", 1))
    if bool(torch.isfinite(shift).all()):
        set_bias(gm, layer, row, lambda bias: (bias.double() + shift).to(bias.dtype))
