"""batch_norm(conv(x, w, b))   ->   conv(x, w * k, (b - mean) * k + beta)      k = gamma / sqrt(var + eps), per channel
batch_norm(cat(conv(x), conv(y)))   ->   cat(batch_norm(conv(x)), batch_norm(conv(y)))      along the channels

A batch norm with fixed statistics is linear, so the layer in front of it computes it for free (Jacob et al. 2017,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", section 3.2). Computed
in float64, stored in the weight's own dtype under the layer's own names; a weight that others use too is copied. A
batch norm stays where the layer's output is used elsewhere.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from fxquant.graph import surgery
from fxquant.graph.pipeline import register_pass
from fxquant.graph.plain_tracer import nn_class
from fxquant.graph.weights import TRANSPOSED, output_channels
from fxquant.ops.op import op_of

_MODULES = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_LAYERS = ("conv1d", "conv2d", "conv3d", "linear", *TRANSPOSED)


class Statistics(NamedTuple):
    """What a batch norm applies to each channel: (x - mean) / sqrt(var + eps) * gamma + beta."""

    mean: Tensor
    var: Tensor
    gamma: Tensor | None
    beta: Tensor | None
    eps: float

    def split(self, channels: list[int]) -> list[Statistics]:
        """Those of so many channels each, in order."""
        *tensors, eps = self
        parts = [[None] * len(channels) if t is None else torch.split(t, channels) for t in tensors]
        return [Statistics._make([*part, eps]) for part in zip(*parts, strict=True)]


@register_pass(stage="fuse")
def fuse_batch_norm(gm: GraphModule) -> GraphModule:
    shared = read_twice(gm)
    for node in list(gm.graph.nodes):
        x = node.args[0] if node.args else None
        layers = _layers(x) if isinstance(x, Node) else []
        statistics = _statistics(gm, node) if layers else None
        channels = [channels_of(gm, layer) for layer in layers]
        if statistics is None or sum(channels) != len(statistics.mean):
            continue
        for layer, part in zip(layers, statistics.split(channels), strict=True):
            new = with_norm(gm, layer, node, part, shared)
            surgery.replace(layer, new)
        surgery.replace(node, node.all_input_nodes[0])
    return surgery.renumber(surgery.clean(gm))


def _layers(x: Node) -> list[Node]:
    """`x`, or what it concatenates along the channels, if all of it can take the batch norm behind `x`."""
    row = op_of(x)
    pieces = [x]
    if row is not None and row.name == "cat" and len(x.users) == 1 and row.bind(x)["dim"] == 1:
        pieces = list(row.bind(x)["tensors"])
    foldable = len(set(pieces)) == len(pieces) and all(is_foldable_layer(piece) for piece in pieces)
    return pieces if foldable else []


def is_foldable_layer(layer: Node) -> bool:
    """Whether `layer` has weights of its own, and hands what it computes to one reader."""
    row = op_of(layer)
    if row is None or row.name not in _LAYERS or len(layer.users) != 1:
        return False
    # A linear layer's channels are its last dimension, a batch norm's are dimension 1.
    if row.name == "linear" and len(layer.meta.get("shape") or ()) != 2:
        return False
    weight, bias = (row.bind(layer)[role] for role in ("weight", "bias"))
    return weight.op == "get_attr" and (bias is None or bias.op == "get_attr")


def _statistics(gm: GraphModule, node: Node) -> Statistics | None:
    """What `node` normalizes by, if it is a batch norm whose statistics are fixed."""
    row = op_of(node)
    if row is not None and row.name == "batch_norm":
        _, *nodes, eps = row.bind(node).values()
        if any(n is not None and n.op != "get_attr" for n in nodes):
            return None
        return Statistics._make([*(None if n is None else surgery.fetch(gm, n) for n in nodes), eps])
    norm = fixed_norm(gm, node)
    return None if norm is None else Statistics(norm.running_mean, norm.running_var, norm.weight, norm.bias, norm.eps)  # type: ignore[arg-type]


def fixed_norm(gm: GraphModule, node: Node) -> nn.Module | None:
    """The batch norm module that `node` calls, if it calls one whose statistics are fixed."""
    norm = gm.get_submodule(str(node.target)) if node.op == "call_module" else None
    if norm is None or nn_class(norm) not in _MODULES or norm.training:
        return None
    if norm._forward_hooks or norm._forward_pre_hooks or norm.running_mean is None or norm.running_var is None:
        return None
    return norm


def weight_of(gm: GraphModule, layer: Node) -> Tensor:
    """The weight of a layer."""
    row = op_of(layer)
    assert row is not None
    return surgery.fetch(gm, row.bind(layer)["weight"])


def channels_of(gm: GraphModule, layer: Node) -> int:
    """How many outputs a layer has."""
    row = op_of(layer)
    assert row is not None
    return output_channels(row, weight_of(gm, layer), row.bind(layer))


def with_norm(gm: GraphModule, layer: Node, norm: Node, statistics: Statistics, shared: set[int]) -> Node:
    """A layer like `layer` that computes `norm` as well."""
    row = op_of(layer)
    assert row is not None
    arguments = row.bind(layer)
    weight_node, bias_node = arguments["weight"], arguments["bias"]
    bias = None if bias_node is None else surgery.fetch(gm, bias_node)
    groups = arguments["groups"] if row.name in TRANSPOSED else None
    weight, bias = fold(surgery.fetch(gm, weight_node), bias, statistics, groups)
    path, dot, _ = str(weight_node.target).rpartition(".")
    arguments["weight"] = _store(gm, weight_node, str(weight_node.target), weight, layer, shared)
    arguments["bias"] = _store(gm, bias_node, f"{path}{dot}bias", bias, layer, shared)
    new: Node = surgery.emit(layer, row.call, *arguments.values(), sources=(layer, norm))
    return new


def fold(
    weight: Tensor, bias: Tensor | None, statistics: Statistics, transposed_groups: int | None = None
) -> tuple[Tensor, Tensor]:
    """Weight and bias that compute the layer and its batch norm.

    `weight` [O, ...]; for a transposed convolution [C, O/groups, ...], with its number of groups.
    """
    mean, var = statistics.mean.double(), statistics.var.double()
    gain = torch.rsqrt(var + statistics.eps) * _double(statistics.gamma, 1.0)
    shift = (_double(bias, 0.0) - mean) * gain + _double(statistics.beta, 0.0)
    if transposed_groups is None:
        gains = gain.reshape(-1, *[1] * (weight.dim() - 1))
    else:  # input channel c belongs to group c // (C / groups), whose output channels are its own
        by_group = gain.reshape(transposed_groups, -1).repeat_interleave(len(weight) // transposed_groups, 0)
        gains = by_group.reshape(*weight.shape[:2], *[1] * (weight.dim() - 2))
    return (weight.double() * gains).to(weight.dtype), shift.to(weight.dtype)


def _double(value: Tensor | None, default: float) -> Tensor | float:
    return default if value is None else value.detach().double()


def _store(gm: GraphModule, old: Node | None, name: str, value: Tensor, near: Node, shared: set[int]) -> Node:
    """`value` as the parameter called `name`, or called alike if others read what is there."""
    replacing = old is not None and surgery.fetch(gm, old).data_ptr() not in shared
    return surgery.parameter(gm, str(old.target) if old is not None else name, value, near, replacing)


def read_twice(gm: GraphModule) -> set[int]:
    """The addresses of all tensors that more than one node reads, under whatever names."""
    readers: Counter[int] = Counter()
    for node in gm.graph.nodes:
        if node.op == "get_attr":
            readers[surgery.fetch(gm, node).data_ptr()] += len(node.users)
        elif node.op == "call_module":
            readers.update(p.data_ptr() for p in gm.get_submodule(str(node.target)).parameters())
    return {address for address, count in readers.items() if count > 1}
