"""conv(x, w, b) * s + t   ->   conv(x, w * s, b * s + t)      s, t: numbers, or one for each channel; likewise - and /

The batch norms of detectors, whose statistics are buffers: s = gamma / sqrt(var + eps) and t = beta - mean * s, which
their forward computes anew at every call. Each step is a batch norm of mean 0 and variance 1, and is folded as one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from fxquant.graph import surgery
from fxquant.graph.constants import constant_value
from fxquant.graph.pipeline import register_pass
from fxquant.ops.op import op_of

from .fuse_batch_norm import Statistics, channels_of, is_foldable_layer, read_twice, weight_of, with_norm

# What becomes of a layer's output: how often it is taken, and what is added.
_STEPS: dict[str, Callable[[Tensor], tuple[Tensor | None, Tensor | None]]] = {
    "mul": lambda s: (s, None),
    "div": lambda s: (1 / s, None),
    "add": lambda t: (None, t),
    "sub": lambda t: (None, -t),
}


@register_pass(stage="fuse")
def fuse_affine(gm: GraphModule) -> GraphModule:
    shared = read_twice(gm)
    for node in list(gm.graph.nodes):
        row = op_of(node)
        if row is None or row.name not in _STEPS:
            continue
        a, b = row.bind(node).values()
        if row.commutative and not _is_convolution(a):
            a, b = b, a
        statistics = _statistics(gm, row.name, a, b) if _is_convolution(a) else None
        if statistics is not None:
            surgery.replace(a, with_norm(gm, a, node, statistics, shared))
            surgery.replace(node, next(x for x in node.all_input_nodes if _is_convolution(x)))
    return surgery.renumber(surgery.clean(gm))


def _is_convolution(value: object) -> bool:
    row = op_of(value) if isinstance(value, Node) else None
    return row is not None and "conv" in row.name and is_foldable_layer(value)  # type: ignore[arg-type]


def _statistics(gm: GraphModule, step: str, layer: Node, operand: object) -> Statistics | None:
    """The batch norm that the step is, if its operand is a constant, one number for each channel or for all."""
    value, rank = constant_value(gm, operand), len(layer.meta.get("shape") or ())
    if value is None or not value.is_floating_point() or rank < 3 or value.dim() > rank:
        return None
    device = weight_of(gm, layer).device
    if "meta" in (device.type, value.device.type):  # a model without values yet
        return None
    channels, shape = channels_of(gm, layer), (1,) * (rank - value.dim()) + value.shape
    if value.numel() > 1 and not value.numel() == shape[1] == channels:
        return None
    gamma, beta = _STEPS[step](value.to(device).double().reshape(-1).expand(channels))
    if any(x is not None and not bool(torch.isfinite(x).all()) for x in (gamma, beta)):
        return None
    if gamma is not None and not bool(gamma.any()):  # a weight of zeros has no scale
        return None
    return Statistics(torch.zeros(channels, device=device), torch.ones(channels, device=device), gamma, beta, 0.0)
