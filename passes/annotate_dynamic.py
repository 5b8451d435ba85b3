"""Ops that take and give floats, and make integers of them in between, with scales found at run time.

They do under a qconfig whose activations are dynamic, where the op has such a kernel. A scale belongs to one row of the
input, unless the qconfig asks for one for the whole tensor, as torch.ao has it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import GraphModule, Node

from fxquant.graph.annotation import decide
from fxquant.graph.pipeline import register_pass
from fxquant.ops.op import op_of
from fxquant.qparams import Dynamic

from .annotate_int8 import backend_limit, call_limit, made_by


@register_pass(stage="annotate")
def annotate_dynamic(gm: GraphModule) -> GraphModule:
    for node in gm.graph.nodes:
        row, activation = op_of(node), _dynamic(node)
        if row is None or not row.dynamic or activation is None:
            continue
        reason = _limit(activation) or call_limit(gm, node, row) or _group_limit(node)
        reason = reason or backend_limit(gm, node, has_weight=True)
        decide(node, dynamic=None if reason else _levels(activation), reason=reason or "")
    return gm


def _dynamic(node: Node) -> Any:
    """What the node's qconfig makes for activations, if they are dynamic."""
    match = node.meta.get("qconfig")
    if match is None or match.qconfig is None or "custom" in node.meta:
        return None
    activation = made_by(match.qconfig.activation, match.source)
    return activation if activation.is_dynamic else None


def _limit(activation: Any) -> str | None:
    """The reason why no kernel makes such integers, or None."""
    if activation.dtype not in (torch.uint8, torch.int8):
        return f"its qconfig asks for {activation.dtype} activations; kernels take 8-bit integers"
    if activation.qscheme.symmetric or activation.qscheme.per_channel:
        return f"its qconfig asks for {activation.qscheme.value} activations; dynamic ones are affine, by row or tensor"
    return None


def _group_limit(node: Node) -> str | None:
    match: Any = node.meta["qconfig"]
    if hasattr(made_by(match.qconfig.weight, match.source), "group_size"):
        return "its qconfig asks for groups of inputs, which have a kernel for static activations only"
    return None


def _levels(activation: Any) -> Dynamic:
    """Signed codes are those of the same reals as unsigned ones."""
    offset = 128 if activation.dtype is torch.int8 else 0
    low = -offset if activation.quant_min is None else activation.quant_min
    high = 255 - offset if activation.quant_max is None else activation.quant_max
    return Dynamic(getattr(activation, "by_row", False), low + offset, high + offset)
