"""int8_op(x, constants …) -> layer(x): every integer op becomes a module that runs its kernel.

A layer stands where the user's module stood ("features.0.0"); ops that were no module of their own are named after the
module that they are in ("features.3.add").
"""

from __future__ import annotations

from typing import Any

from torch.fx import GraphModule, Node

import fxquant.runtime.layers  # noqa: F401  fills LAYERS
from fxquant.graph import surgery
from fxquant.graph.origin import origin_of, where
from fxquant.graph.pipeline import register_pass
from fxquant.ops.op import OPS, op_of
from fxquant.qparams import QParams
from fxquant.runtime.layer import LAYERS, Layer


@register_pass(stage="lower")
def lower_layers(gm: GraphModule) -> GraphModule:
    layers = [_lower(gm, node) for node in list(gm.graph.nodes) if node.target in LAYERS]
    surgery.clean(gm)
    for call, path in layers:  # only now the float parameters are gone, and their place is free
        surgery.rename_module(gm, call, path)
    return surgery.clean(surgery.renumber(gm))


def _lower(gm: GraphModule, node: Node) -> tuple[Node, str]:
    """Replaces `node` by a call of its layer; returns the call and the path where the layer belongs."""
    layer, path = _layer(gm, node), _path(node)
    layer.where = where(node)
    q = _qparams(node)
    if layer.gives_integers and q is not None:
        layer.note_output_scale(float(q.scale))
    inputs = [_arguments(node)[name] for name in layer.inputs]
    while inputs and inputs[-1] is None:
        inputs.pop()
    call = surgery.call_module(node, surgery.add_module(gm, "lowered", layer), *inputs, sources=[node])
    surgery.replace(node, call)
    return call, path


def _qparams(node: Node) -> QParams | None:
    """Those of the result, or of what is only moved before it counts as the result: the squeeze behind a conv1d."""
    while "qparams" not in node.meta and len(node.users) == 1:
        [node] = node.users
        row = op_of(node)
        if row is None or not row.moves:
            return None
    q: QParams | None = node.meta.get("qparams")
    return q


def _layer(gm: GraphModule, node: Node) -> Layer:
    kind = LAYERS[node.target]  # type: ignore[index]
    constants = {
        name: surgery.fetch(gm, value) if isinstance(value, Node) else value
        for name, value in _arguments(node).items()
        if name not in kind.inputs and value is not None
    }
    return kind(constants)


def _arguments(node: Node) -> dict[str, Any]:
    return OPS[node.target].bind(node)  # type: ignore[index]


def _path(node: Node) -> str:
    origin, row = origin_of(node), op_of(node)
    name = row.name.removeprefix("int8_") if row else node.name
    if origin is None:
        return name
    if origin.is_module_call and origin.module_path:
        return origin.module_path
    return f"{origin.module_path}.{name}" if origin.module_path else name
