"""The weights of ops. Outputs are in dimension 0, but for transposed convolutions [I, O / groups, ...]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from fxquant.graph import surgery
from fxquant.ops.op import Op
from fxquant.qparams import QParams, quantize

# Numbers of a weight that are rounded at once.
_PIECE = 1 << 18
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


def rounded_weight(weight: Tensor, q: QParams) -> Tensor:
    """The integers of `weight`, made in pieces along dimension 0: a large one needs little memory beside them."""
    rows = max(1, _PIECE * len(weight) // max(1, weight.numel()))
    integers = torch.empty_like(weight, dtype=q.dtype)
    for begin in range(0, len(weight), rows):
        piece = slice(begin, begin + rows)
        integers[piece] = quantize(weight[piece], _of_rows(q, piece))
    return integers


def _of_rows(q: QParams, rows: slice) -> QParams:
    """The qparams of some rows: theirs, where each has its own."""
    if q.axis not in (None, 0):
        return q
    scale = q.scale[rows] if isinstance(q.scale, Tensor) and q.scale.dim() else q.scale
    zero_point = q.zero_point[rows] if isinstance(q.zero_point, Tensor) and q.zero_point.dim() else q.zero_point
    return q._replace(scale=scale, zero_point=zero_point)


def set_bias(gm: GraphModule, layer: Node, row: Op, changed: Callable[[Tensor], Tensor]) -> None:
    """Gives `layer`, a call of the op `row`, the bias `changed(b)`; b is zeros, if it has none.

    The bias keeps its parameter, unless something else reads that, too.
    """
    arguments = row.bind(layer)
    bias, weight = arguments[row.bias], arguments[row.weight]  # type: ignore[index]
    if bias is not None and readers_of(gm, bias) == 1:
        return surgery.set_parameter(gm, str(bias.target), changed(surgery.fetch(gm, bias)))
    parameter = weight if weight.op == "get_attr" else weight.all_input_nodes[0]  # behind its observer
    real = surgery.fetch(gm, parameter)
    zeros = real.new_zeros(output_channels(row, real, arguments))
    owner, dot, _ = str(parameter.target).rpartition(".")
    value = changed(zeros if bias is None else surgery.fetch(gm, bias))
    own = surgery.parameter(gm, f"{owner}{dot}bias", value, layer, replacing=False)
    surgery.give(layer, {**arguments, row.bias: own})  # type: ignore[dict-item]
    return None


def mean_of_products(weight: Tensor, mean: Tensor, groups: int) -> Tensor:
    """What a layer of `weight` [O, I / groups, ...] gives, without its bias, of channels [I] that are `mean`: [O]."""
    weight = weight.flatten(2).sum(2) if weight.dim() > 2 else weight
    outputs, inputs = weight.shape
    products = weight.reshape(groups, outputs // groups, inputs) * mean.reshape(groups, 1, inputs)
    return products.sum(2).flatten()


def readers_of(gm: GraphModule, parameter: Node) -> int:
    """How many nodes read the parameter that a get_attr fetches, under whatever name."""
    address = surgery.fetch(gm, parameter).data_ptr()
    every = (node for node in gm.graph.nodes if node.op == "get_attr")
    return sum(len(node.users) for node in every if surgery.fetch(gm, node).data_ptr() == address)
