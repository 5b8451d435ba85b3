"""conv2d(x, k, b) of one float weight a channel -> batch_norm(x, 0, 1, k, b); likewise conv1d and conv3d

which is what most of these were, see fuse_lone_batch_norm: the int8 kernel for them is fast, but torch computes a float
convolution of so many groups ten times slower.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import GraphModule, Node

from fxquant import ops
from fxquant.graph import surgery
from fxquant.graph.pipeline import register_pass
from fxquant.graph.weights import is_depthwise
from fxquant.ops.op import op_of


@register_pass(stage="lower")
def lower_scales(gm: GraphModule) -> GraphModule:
    for node in list(gm.graph.nodes):
        if node.target in (ops.conv1d, ops.conv2d, ops.conv3d):
            arguments = op_of(node).bind(node)  # type: ignore[union-attr]
            if _scales(gm, arguments):
                surgery.replace(node, _norm(gm, node, arguments))
    return surgery.clean(gm)


def _scales(gm: GraphModule, arguments: dict[str, Any]) -> bool:
    """Whether all that the convolution does is to multiply each channel by a number, and to add one."""
    if arguments["weight"].op != "get_attr":
        return False
    weight = surgery.fetch(gm, arguments["weight"])
    steps = {*arguments["stride"], *(size + 1 for size in arguments["padding"])}
    return is_depthwise(weight, arguments) and weight.numel() == len(weight) and steps == {1}


def _norm(gm: GraphModule, node: Node, arguments: dict[str, Any]) -> Node:
    weight = surgery.fetch(gm, arguments["weight"]).detach().flatten()
    tensors = {"running_mean": torch.zeros_like(weight), "running_var": torch.ones_like(weight), "weight": weight}
    constants = [surgery.own_constant(gm, node, name, tensor) for name, tensor in tensors.items()]
    new: Node = surgery.emit(node, ops.batch_norm, arguments["x"], *constants, arguments["bias"], 0.0, sources=[node])
    return new
