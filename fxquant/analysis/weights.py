"""How far the integer weights of a layer are from the float ones.

A layer keeps scales only as a part of its multipliers, so each output channel has the scale that fits best:

    scale = sum w q / sum q^2, the least squares solution of w = scale * q

Where a correction stretched what the layer reads by s, its weights are those of the user's model divided by s.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from fxquant.analysis.measures import Error, outside
from fxquant.graph import surgery
from fxquant.graph.integers import layer_of
from fxquant.graph.rescaling import Rescaling
from fxquant.ops.op import op_of
from fxquant.qparams import QParams, along_axis, dequantize

# The bounds that the default observer keeps; weights at -128 lie within, too.
_LARGEST = 127


def weight_error(
    quantized: GraphModule, node: Node, reference: GraphModule, calls: list[Node], read: Rescaling | None
) -> Error | None:
    """The error of the weight of the layer that `node` calls, which computes what `calls` of `reference` compute.

    `read`: how what it reads is rescaled. None if it is no layer with weights, or holds them in another form.
    """
    weight = _integer_weight(quantized, node)
    real = next((found for call in calls if (found := _float_weight(reference, call)) is not None), None)
    if weight is None or real is None:
        return None
    if real.shape != weight.shape and real.dim() > 2:
        real = real.transpose(0, 1)  # layers have the outputs first, also in transposed convolutions
    if real.shape != weight.shape:
        return None
    if read is not None:
        real = real / _of_columns(read.scale, real)
    error, q = Error(), _fitted(weight, real)
    beyond = outside(real, along_axis(q.scale, real, q.axis), 0, q.quant_min, q.quant_max)
    error.add(real, dequantize(weight, q), beyond)
    return error


def _of_columns(s: Tensor, weight: Tensor) -> Tensor:
    """The factors of input channels, shaped to broadcast against a weight [O, I / groups, ...] that reads them."""
    outputs, inputs = weight.shape[:2]
    of_groups = s.reshape(-1, 1, inputs)
    columns = of_groups.expand(-1, outputs // len(of_groups), -1).reshape(outputs, inputs)
    return columns.reshape(outputs, inputs, *[1] * (weight.dim() - 2))


def _float_weight(gm: GraphModule, node: Node) -> Tensor | None:
    row = op_of(node)
    weight = row.bind(node)[row.weight] if row is not None and row.weight is not None else None
    return surgery.fetch(gm, weight) if isinstance(weight, Node) and weight.op == "get_attr" else None


def _integer_weight(gm: GraphModule, node: Node) -> Tensor | None:
    layer = layer_of(gm, node)
    weight = layer.constant("weight") if layer is not None else None
    return weight if isinstance(weight, Tensor) and weight.dtype is torch.int8 else None


def _fitted(weight: Tensor, real: Tensor) -> QParams:
    flat, codes = real.double().flatten(1), weight.double().flatten(1)
    scale = (flat * codes).sum(1) / codes.square().sum(1).clamp(min=1)
    return QParams(scale.float(), torch.zeros_like(scale, dtype=torch.int32), -_LARGEST, _LARGEST, torch.int8, 0)
