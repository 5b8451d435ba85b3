"""The weights of ops. Outputs are in dimension 0, but for transposed convolutions [I, O / groups, ...]."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.fx import GraphModule, Node

from fxquant.graph import surgery
from fxquant.ops.op import Op

TRANSPOSED = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")


def output_channels(row: Op, weight: Tensor, arguments: dict[str, Any]) -> int:
    """How many outputs an op with these arguments has."""
    return int(weight.shape[1] * arguments["groups"] if row.name in TRANSPOSED else weight.shape[0])


def scale_axis(row: Op, weight: Tensor, arguments: dict[str, Any]) -> int:
    """The dimension of the weight whose indices have a scale each.

    In a transposed convolution of several groups those of one index are shared by the groups, unless it is depthwise.
    """
    return 1 if row.name in TRANSPOSED and not is_depthwise(weight, arguments) else 0


def is_depthwise(weight: Tensor, arguments: dict[str, Any]) -> bool:
    """Whether every channel has a filter of its own."""
    return weight.shape[1:2] == (1,) and arguments.get("groups") == weight.shape[0]


def readers_of(gm: GraphModule, parameter: Node) -> int:
    """How many nodes read the parameter that a get_attr fetches, under whatever name."""
    address = surgery.fetch(gm, parameter).data_ptr()
    every = (node for node in gm.graph.nodes if node.op == "get_attr")
    return sum(len(node.users) for node in every if surgery.fetch(gm, node).data_ptr() == address)
