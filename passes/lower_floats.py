"""add(a, b)                           -> float_add(a, b)
embedding(i, w)                     -> float_embedding(i, w)
mul(silu(a), b)                     -> float_mul(float_silu(a), b)      the gate of a GLU; of gelu likewise
gelu(x), silu(x)                    -> float_gelu(x), float_silu(x)
gelu(x, "tanh")                     -> float_gelu_tanh(x)
layer_norm(x, shape, w, b, eps)     -> float_layer_norm(x, w, b, eps)
rms_norm(x, shape, w, eps)          -> float_rms_norm(x, w, eps)
attention(q, k, v, mask, …)         -> float_attention(q, k, v, …, mask)

of floats next to dynamic or weight-only layers, or next to others of these, also over data movement: so that one native
program has them all.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from fxquant import ops
from fxquant.graph import surgery
from fxquant.graph.annotation import activations, quant_of
from fxquant.graph.pipeline import register_pass
from fxquant.ops.op import op_of
from fxquant.qparams import float32

from .fold_dynamic import attend_floats


@register_pass(stage="lower")
def lower_floats(gm: GraphModule) -> GraphModule:
    for node in _joining(gm):
        if node.target in _LOWERED:
            new = _LOWERED[node.target](gm, node, op_of(node).bind(node))  # type: ignore[union-attr]
            surgery.replace(node, new)
    return surgery.clean(gm)


def _joining(gm: GraphModule) -> list[Node]:
    """What joins these layers: the ops with kernels, and data movement, that ways over such lead to."""
    layers = [node for node in gm.graph.nodes if node.target in _JOINED]
    found, edge = set(layers), list(layers)
    while edge:
        node = edge.pop()
        for each in (*activations(node), *node.users):
            if each not in found and _may_join(each):
                found.add(each)
                edge.append(each)
    return [node for node in gm.graph.nodes if node in found and node not in layers]


def _may_join(node: Node) -> bool:
    row = op_of(node)
    if row is None or quant_of(node).int8:
        return False
    return row.moves or (node.target in _LOWERED and _has_kernel(node, row.bind(node)))


def _has_kernel(node: Node, arguments: dict[str, Any]) -> bool:
    inputs = activations(node)
    if any(x.op == "get_attr" or x.meta.get("dtype") is not torch.float32 for x in inputs):
        return False
    if node.target is ops.embedding:
        indices, weight = arguments["indices"], arguments["weight"]
        table = weight.op == "get_attr" and weight.meta.get("dtype") is torch.float32
        return table and isinstance(indices, Node) and indices.meta.get("dtype") is torch.int64
    if node.target is ops.add:
        return len(inputs) == 2
    if node.target is ops.mul:
        return len(inputs) == 2 and any(x.target in (ops.gelu, ops.silu) for x in inputs)
    if node.target is ops.attention:
        shapes = [x.meta["shape"][:-2] for x in inputs]
        mask = arguments["mask"]
        return len({*shapes}) == 1 and (mask is None or mask.meta.get("dtype") in (torch.bool, torch.float32))
    return True


def _same(gm: GraphModule, node: Node, arguments: dict[str, Any]) -> Node:
    """Of the same arguments, as far as the kernel has them."""
    new: Node = surgery.emit(node, _KERNELS[node.target], *activations(node), sources=[node])
    return new


def _gelu(gm: GraphModule, node: Node, arguments: dict[str, Any]) -> Node:
    kernel = ops.float_gelu_tanh if arguments["approximate"] == "tanh" else ops.float_gelu
    new: Node = surgery.emit(node, kernel, arguments["x"], sources=[node])
    return new


def _embedding(gm: GraphModule, node: Node, arguments: dict[str, Any]) -> Node:
    vectors = surgery.own_constant(gm, node, "vectors", surgery.fetch(gm, arguments["weight"]).detach())
    new: Node = surgery.emit(node, ops.float_embedding, arguments["indices"], vectors, sources=[node])
    return new


def _layer_norm(gm: GraphModule, node: Node, arguments: dict[str, Any]) -> Node:
    shape = arguments["normalized_shape"]
    gain = _parameter(gm, node, "gain", arguments["weight"], torch.ones(shape))
    shift = _parameter(gm, node, "shift", arguments["bias"], torch.zeros(shape))
    eps = float32(arguments["eps"])
    new: Node = surgery.emit(node, ops.float_layer_norm, arguments["x"], gain, shift, eps, sources=[node])
    return new


def _rms_norm(gm: GraphModule, node: Node, arguments: dict[str, Any]) -> Node:
    gain = _parameter(gm, node, "gain", arguments["weight"], torch.ones(arguments["normalized_shape"]))
    new: Node = surgery.emit(node, ops.float_rms_norm, arguments["x"], gain, float32(arguments["eps"]), sources=[node])
    return new


def _parameter(gm: GraphModule, node: Node, name: str, parameter: Node | None, default: Tensor) -> Node:
    tensor = default if parameter is None else surgery.fetch(gm, parameter).detach().float()
    return surgery.own_constant(gm, node, name, tensor)


def _attention(gm: GraphModule, node: Node, arguments: dict[str, Any]) -> Node:
    return attend_floats(node, ops.float_attention, arguments)


_JOINED = (
    ops.dynamic_linear,
    ops.dynamic_linear_grouped,
    ops.dynamic_matmul,
    ops.dynamic_attention,
    ops.dynamic_conv2d,
    ops.dynamic_conv3d,
    ops.dynamic_conv_transpose2d,
    ops.dynamic_conv_transpose3d,
    ops.weight_only_linear,
)
_KERNELS: dict[Any, Any] = {
    ops.add: ops.float_add,
    ops.mul: ops.float_mul,
    ops.silu: ops.float_silu,
}
_LOWERED = {
    **dict.fromkeys(_KERNELS, _same),
    ops.gelu: _gelu,
    ops.embedding: _embedding,
    ops.layer_norm: _layer_norm,
    ops.rms_norm: _rms_norm,
    ops.attention: _attention,
}
