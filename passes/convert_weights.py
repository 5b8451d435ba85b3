"""observer(weight) -> dequantize(weight_int8, q): weights become integers, once and for all."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from fxquant import ops
from fxquant.fake_quantize import FakeQuantizeBase
from fxquant.graph import surgery
from fxquant.graph.pipeline import register_pass
from fxquant.graph.watching import is_statistic
from fxquant.graph.weights import rounded_weight
from fxquant.observer import ObserverBase
from fxquant.qparams import QParams


@register_pass(stage="convert")
def convert_weights(gm: GraphModule) -> GraphModule:
    for node in list(gm.graph.nodes):
        if is_statistic(node):
            surgery.erase_unused([node])
        elif node.op == "call_module" and isinstance(gm.get_submodule(str(node.target)), ObserverBase):
            _convert(gm, node)
    return surgery.clean(gm)


def _convert(gm: GraphModule, node: Node) -> None:
    (weight,) = node.all_input_nodes
    real, q = learned(gm, node)
    name = str(weight.target)
    integer = surgery.constant(gm, f"{name}_{q.dtype}".replace("torch.", ""), rounded_weight(real, q), node)
    scale, zero_point = (_number(gm, node, f"{name}_{each}", getattr(q, each)) for each in ("scale", "zero_point"))
    q = q._replace(scale=scale, zero_point=zero_point)
    if real.dtype is torch.float32:
        new = surgery.emit(node, ops.dequantize, integer, q, sources=[node])
    else:
        new = surgery.emit(node, ops.dequantize_to, integer, q, real.dtype, sources=[node])
    surgery.replace(node, new)


def learned(gm: GraphModule, node: Node) -> tuple[Tensor, QParams]:
    """The float weight that the observer called by `node` is given, and the qparams that it finds for it."""
    observer: Any = gm.get_submodule(str(node.target))
    real = surgery.fetch(gm, node.all_input_nodes[0])
    if not (isinstance(observer, FakeQuantizeBase) and observer.observed):  # training has settled those
        observer(real)
    q: QParams = observer.qparams()
    return real, q


def _number(gm: GraphModule, node: Node, name: str, value: Any) -> Any:
    """A number; or numbers, as a new buffer, unless all are 0."""
    if not isinstance(value, Tensor):
        return value
    return surgery.constant(gm, name, value, node) if bool(value.any()) else 0
