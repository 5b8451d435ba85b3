"""Ops that compute with real numbers, of weights that are integers.

They do under a qconfig of int8 weights and float32 activations, which are bfloat16 in a model of bfloat16, where the op
has such a kernel: what is bound by the weights that it reads gains from their size alone, and the activations lose
nothing.
"""

from __future__ import annotations

import torch
from torch.fx import GraphModule

from fxquant.graph.annotation import decide
from fxquant.graph.pipeline import register_pass
from fxquant.ops.op import op_of
from fxquant.qconfig_mapping import Match

from .annotate_int8 import backend_limit, call_limit
from .annotate_rows import wants_integer_weights, wants_real_activations

# What activations may be; sums are float32.
REALS = (torch.float32, torch.bfloat16)


@register_pass(stage="annotate")
def annotate_weight_only(gm: GraphModule) -> GraphModule:
    for node in gm.graph.nodes:
        row, match = op_of(node), node.meta.get("qconfig")
        if row is None or not row.weight_only or "custom" in node.meta or not (match and wants_weight_only(match)):
            continue
        reason = call_limit(gm, node, row, dtypes=REALS) or backend_limit(gm, node, has_weight=True)
        decide(node, weight_only=reason is None, reason=reason or "it computes with real numbers, of int8 weights")
    return gm


def wants_weight_only(match: Match) -> bool:
    """Whether a qconfig wants integers of weights alone."""
    return wants_integer_weights(match) and wants_real_activations(match)
