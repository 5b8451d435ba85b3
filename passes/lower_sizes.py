"""float_add(a, b).shape            -> joint_shape(a.shape, b.shape)
float_gelu(x).shape              -> x.shape
float_layer_norm(x, …).shape     -> x.shape

where that leads to values that no such layer computes, and x.size() likewise. What is computed of a shape, such as an
encoder's mask of the shape of its embeddings, then needs nothing of a program, which it would divide otherwise.
"""

from __future__ import annotations

import operator
from typing import Any

from torch.fx import GraphModule, Node, Proxy

from fxquant import ops
from fxquant.graph import surgery
from fxquant.graph.pipeline import register_pass
from fxquant.graph.shapes import joint_shape
from fxquant.runtime.layer import LAYERS

_SHAPES_OF_INPUTS = (ops.float_add, ops.float_gelu, ops.float_layer_norm)


@register_pass(stage="lower")
def lower_sizes(gm: GraphModule) -> GraphModule:
    for node in list(gm.graph.nodes):
        dim = _asked(node)
        if dim is None:
            continue
        sources = _sources(node.args[0])
        if sources:
            surgery.replace(node, surgery.emit(node, _shape, sources, *dim, sources=[node]))
    return surgery.clean(gm)


def _asked(node: Node) -> tuple[Any, ...] | None:
    """The dimension whose size `node` asks for, or () for the whole shape; None if it asks for neither."""
    if node.target is getattr and node.args[1] == "shape":
        return ()
    if node.op == "call_method" and node.target == "size" and not node.kwargs:
        return tuple(node.args[1:])
    return None


def _sources(x: Any) -> list[Node]:
    """The values whose shapes, broadcast, are the shape of `x`, if it is of such layers alone; else none."""
    if not isinstance(x, Node) or x.target not in _SHAPES_OF_INPUTS:
        return []
    read = surgery.tensors(x.args if x.target is ops.float_add else x.args[:1])
    sources = [_sources(each) if each.target in LAYERS else [each] for each in read]
    return [each for some in sources for each in some] if all(sources) else []


def _shape(sources: list[Proxy], *dim: Any) -> Any:
    shapes = [x.shape for x in sources]
    shape = shapes[0] if len(shapes) == 1 else joint_shape(*shapes)
    return operator.getitem(shape, *dim) if dim else shape
