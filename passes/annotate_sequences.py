"""nn.LSTM(x, ...) of projections, or of a PackedSequence   ->   int8 weights, and scales that are found at run time

Such a call, and one whose initial states are not known one by one, stays one of torch's module: its steps are of
several batch sizes, or end in a third product. Under a qconfig of static activations, too, it takes and gives floats,
and quantizes the rows of its products as they come.
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

from .annotate_dynamic import dynamic_of, recurrent_limit, wants_two_bytes
from .annotate_weight_only import wants_float16_weights

SEQUENCES = (nn.LSTM, nn.GRU, nn.RNN)
SEQUENCE_QCONFIG = "sequence_qconfig"  # of node.meta: the qconfig of dynamic activations that the module converts by

FLOAT16_LIMIT = "with float16 weights it has no projections, no packed sequence, and states that are known one by one"


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
        elif config_limit(node) is None or _is_dynamic(qconfig, match.source):
            decide(node, reason=reason)
    return gm


def _dynamic(qconfig: QConfig, source: str) -> QConfig:
    """`qconfig`, with activations whose scales are found at run time where it has static ones of 8 bits."""
    activation = made_by(qconfig.activation, source)
    if activation.is_dynamic or activation.dtype not in (torch.uint8, torch.int8):
        return qconfig
    return qconfig._replace(activation=default_dynamic_qconfig.activation)


def _is_dynamic(qconfig: QConfig, source: str) -> bool:
    dynamic: bool = made_by(qconfig.activation, source).is_dynamic
    return dynamic


def _limit(gm: GraphModule, node: Node, module: Any, match: Match) -> str | None:
    """The reason why it stays float, or None."""
    assert match.qconfig is not None
    if gm.meta.get("trains"):
        return "in quantized training it computes in float, and is trained as such"
    if wants_float16_weights(match):
        return FLOAT16_LIMIT
    if not _is_dynamic(match.qconfig, match.source):
        return "its qconfig asks for no 8-bit activations"
    if any(parameter.dtype is not torch.float32 for parameter in module.parameters()):
        return "its parameters are not float32"
    limit = recurrent_limit(match) or (projected_limit(match) if module.proj_size else None)
    return limit or backend_limit(gm, node, has_weight=True)


def projected_limit(match: Match) -> str | None:
    """The reason why no layer with projections computes under a qconfig that others compute under, or None."""
    wide = wants_two_bytes(match) or wants_float16_weights(match)
    return "a layer with projections has no form with weights of 16 bits" if wide else None
