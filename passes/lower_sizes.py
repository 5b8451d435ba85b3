"""float_add(a, b).shape            -> joint_shape(a.shape, b.shape)
float_mul(a, b).shape            -> joint_shape(a.shape, b.shape)
float_embedding(i, w).shape      -> shape_of_rows(i.shape, w.shape[1])
float_gelu(x).shape              -> x.shape      float_gelu_tanh likewise
float_silu(x).shape              -> x.shape
float_layer_norm(x, …).shape     -> x.shape
float_rms_norm(x, …).shape       -> x.shape
mask_nonzero(x).shape            -> x.shape

where that leads to values that no such layer computes, and x.size() likewise. What is computed of a shape, such as an
encoder's mask of the shape of its embeddings, then needs nothing of a program, which it would divide otherwise.
"""

from __future__ import annotations

import operator
from typing import Any

from torch.fx import GraphModule, Node

from fxquant import ops
from fxquant.graph import surgery
from fxquant.graph.pipeline import register_pass
from fxquant.graph.shapes import joint_shape, shape_of_rows
from fxquant.runtime.layer import LAYERS

_OF_TWO = (ops.float_add, ops.float_mul)
_SHAPES_OF_INPUTS = (
    *_OF_TWO,
    *(ops.float_embedding, ops.float_gelu, ops.float_gelu_tanh, ops.float_silu),
    *(ops.float_layer_norm, ops.float_rms_norm),
    ops.mask_nonzero,
)


@register_pass(stage="lower")
def lower_sizes(gm: GraphModule) -> GraphModule:
    nodes: list[Any] = list(gm.graph.nodes)
    for node in nodes:
        dim = _asked(node)
        if dim is None or node.args[0].target not in _SHAPES_OF_INPUTS or not _leads_out(node.args[0]):
            continue
        shape = _shape_of(gm, node, node.args[0])
        surgery.replace(node, surgery.emit(node, operator.getitem, shape, *dim, sources=[node]) if dim else shape)
    return surgery.clean(gm)


def _asked(node: Node) -> tuple[Any, ...] | None:
    """The dimension whose size `node` asks for, or () for the whole shape; None if it asks for neither."""
    if node.target is getattr and node.args[1] == "shape":
        return ()
    if node.op == "call_method" and node.target == "size" and not node.kwargs:
        return tuple(node.args[1:])
    return None


def _leads_out(x: Node) -> bool:
    """Whether the shape of `x` is that of values which no layer computes."""
    return all(map(_leads_out, _read(x))) if x.target in _SHAPES_OF_INPUTS else x.target not in LAYERS


def _read(x: Node) -> list[Node]:
    return surgery.tensors(x.args if x.target in _OF_TWO else x.args[:1])


def _shape_of(gm: GraphModule, before: Node, x: Any) -> Any:
    """A node in front of `before` that asks what `x` is computed of for the shape of `x`.

    Each asker gets its own: one that a program has is to read nothing of those outside.
    """
    if x.target not in _SHAPES_OF_INPUTS:
        return surgery.emit(before, operator.attrgetter("shape"), x, sources=[before])
    shapes = [_shape_of(gm, before, each) for each in _read(x)]
    if x.target in _OF_TWO:
        return surgery.emit(before, joint_shape, *shapes, sources=[before])
    if x.target is ops.float_embedding:
        return surgery.emit(before, shape_of_rows, *shapes, surgery.fetch(gm, x.args[1]).shape[1], sources=[before])
    return shapes[0]
