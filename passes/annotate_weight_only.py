"""Ops that compute with real numbers, of weights that are integers, or float16.

They do under a qconfig of int8 weights and float32 activations, which are bfloat16 in a model of bfloat16, or under
float16_dynamic_qconfig, which means the same of float16 weights, where the op has such a kernel: what is bound by the
weights that it reads gains from their size alone, and the activations lose nothing.
"""

from __future__ import annotations

import torch
from torch.fx import GraphModule

from fxquant import ops
from fxquant.graph.annotation import decide
from fxquant.graph.limits import backend_limit, call_limit, made_by
from fxquant.graph.pipeline import register_pass
from fxquant.observer import PassiveObserver
from fxquant.ops.op import op_of
from fxquant.qconfig_mapping import Match

from .annotate_dynamic import in_8_bits
from .annotate_rows import wants_integer_weights, wants_real_activations

# What activations may be; sums are float32.
REALS = (torch.float32, torch.bfloat16)


@register_pass(stage="annotate")
def annotate_weight_only(gm: GraphModule) -> GraphModule:
    for node in gm.graph.nodes:
        row, match = op_of(node), node.meta.get("qconfig")
        if row is None or "custom" in node.meta or not (match and wants_weight_only(match)):
            continue
        if not (row.weight_only or (row.call is ops.recurrent and wants_float16_weights(match))):
            continue
        reason = call_limit(gm, node, row, in_integers(match), REALS) or backend_limit(gm, node, has_weight=True)
        decide(node, weight_only=reason is None, reason=reason or "it computes with real numbers, of narrower weights")
    return gm


def wants_weight_only(match: Match) -> bool:
    """Whether a qconfig wants integers, or float16, of weights alone."""
    return wants_float16_weights(match) or (wants_integer_weights(match) and wants_real_activations(match))


def wants_float16_weights(match: Match) -> bool:
    """Whether a qconfig wants float16 of weights alone; torch.ao's says so of activations, too, which are float32."""
    if match.qconfig is None or match.qconfig.weight is None:
        return False
    activation, weight = (made_by(each, match.source) for each in (match.qconfig.activation, match.qconfig.weight))
    dynamic = activation.dtype is torch.float16 and activation.is_dynamic
    passive = isinstance(weight, PassiveObserver) and isinstance(activation, PassiveObserver)
    return passive and weight.dtype is torch.float16 and (dynamic or wants_real_activations(match))


def in_integers(match: Match) -> Match:
    """The same with weights of int8 for float16, which has fewer limits."""
    return in_8_bits(match) if wants_float16_weights(match) else match
