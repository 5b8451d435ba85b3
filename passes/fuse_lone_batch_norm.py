"""nn.BatchNorm2d()(x)   ->   conv2d(x, k, b)   of one weight a channel, where no layer in front took it

A batch norm with fixed statistics is a depthwise convolution of one tap, whose kernel is fast and whose saturation
takes a relu. Without spatial dimensions it becomes ops.batch_norm, a function of an element and its channel, for which
a table a channel serves; likewise on the graph's own input, where it stays float.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import GraphModule, Node

from fxquant import ops
from fxquant.graph import surgery
from fxquant.graph.pipeline import register_pass

from .fuse_batch_norm import Statistics, fixed_norm, fold

_CONVOLUTIONS: dict[int, Any] = {3: ops.conv1d, 4: ops.conv2d, 5: ops.conv3d}
_TENSORS = ("running_mean", "running_var", "weight", "bias")


@register_pass(stage="fuse")
def fuse_lone_batch_norm(gm: GraphModule) -> GraphModule:
    for node in list(gm.graph.nodes):
        norm: Any = fixed_norm(gm, node)
        if norm is None:
            continue
        rank = len(node.meta.get("shape") or ())
        convolve = rank in _CONVOLUTIONS and node.all_input_nodes[0].op != "placeholder"
        surgery.replace(node, _convolution(gm, node, norm, rank) if convolve else _op(gm, node, norm))
    return surgery.renumber(surgery.clean(gm))


def _convolution(gm: GraphModule, node: Node, norm: Any, rank: int) -> Node:
    statistics = Statistics(norm.running_mean, norm.running_var, norm.weight, norm.bias, norm.eps)
    channels = len(statistics.mean)
    ones = torch.ones(channels, 1, *[1] * (rank - 2), dtype=statistics.mean.dtype)
    found = zip(("weight", "bias"), fold(ones, None, statistics), strict=True)
    weight, bias = (surgery.parameter(gm, f"{node.target}.{name}", t, node, replacing=False) for name, t in found)
    x = node.all_input_nodes[0]
    new: Node = surgery.emit(node, _CONVOLUTIONS[rank], x, weight, bias, groups=channels, sources=(node,))
    return new


def _op(gm: GraphModule, node: Node, norm: Any) -> Node:
    tensors = [
        surgery.get_attr(gm, f"{node.target}.{name}", node) if getattr(norm, name) is not None else None
        for name in _TENSORS
    ]
    new: Node = surgery.emit(node, ops.batch_norm, node.all_input_nodes[0], *tensors, norm.eps, sources=(node,))
    return new
