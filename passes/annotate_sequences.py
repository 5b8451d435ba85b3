"""nn.LSTM(x, ...) of projections, or of a PackedSequence   ->   int8 weights, and scales that are found at run time

Such a call stays one of torch's module: its steps are of several batch sizes, or end in a third product. Under a
qconfig of static activations, too, it takes and gives floats, and quantizes the rows of its products as they come.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule, Node

from fxquant.graph.annotation import decide
from fxquant.graph.limits import backend_limit, config_limit, made_by
from fxquant.graph.pipeline import register_pass
from fxquant.qconfig import QConfig, default_dynamic_qconfig
from fxquant.qconfig_mapping import Match

from .annotate_dynamic import dynamic_limit, dynamic_of

SEQUENCES = (nn.LSTM, nn.GRU, nn.RNN)
SEQUENCE_QCONFIG = "sequence_qconfig"  # of node.meta: the qconfig of dynamic activations that the module converts by


@register_pass(stage="annotate")
def annotate_sequences(gm: GraphModule) -> GraphModule:
    for node in gm.graph.nodes:
        module: Any = gm.get_submodule(str(node.target)) if node.op == "call_module" else None
        match: Match | None = node.meta.get("qconfig")
        if type(module) not in SEQUENCES or match is None or match.qconfig is None or "custom" in node.meta:
            continue
        qconfig = _dynamic(match.qconfig, match.source)
        reason = _limit(gm, node, module, Match(qconfig, match.source))
        if reason is None:
            node.meta[SEQUENCE_QCONFIG] = qconfig
            decide(node, dynamic=dynamic_of(made_by(qconfig.activation, match.source)), reason="")
        elif config_limit(node) is None:
            decide(node, reason=reason)
    return gm


def _dynamic(qconfig: QConfig, source: str) -> QConfig:
    """`qconfig`, with activations whose scales are found at run time where it has static ones of 8 bits."""
    activation = made_by(qconfig.activation, source)
    if activation.is_dynamic or activation.dtype not in (torch.uint8, torch.int8):
        return qconfig
    return qconfig._replace(activation=default_dynamic_qconfig.activation)


def _limit(gm: GraphModule, node: Node, module: Any, match: Match) -> str | None:
    """The reason why it stays float, or None."""
    assert match.qconfig is not None
    if gm.meta.get("trains"):
        return "in quantized training it computes in float, and is trained as such"
    if not made_by(match.qconfig.activation, match.source).is_dynamic:
        return "its qconfig asks for no 8-bit activations"
    if any(parameter.dtype is not torch.float32 for parameter in module.parameters()):
        return "its parameters are not float32"
    reason: str | None = dynamic_limit(match) or backend_limit(gm, node, has_weight=True)
    return reason
