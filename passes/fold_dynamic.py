"""linear(x, dequantize(w, s), b) -> dynamic_linear(x, w, s, b, …), of ops that annotate_dynamic chose."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from fxquant import ops
from fxquant.graph import surgery
from fxquant.graph.annotation import quant_of
from fxquant.graph.pipeline import register_pass
from fxquant.ops.op import op_of
from fxquant.qparams import FloatOutput


@register_pass(stage="fold")
def fold_dynamic(gm: GraphModule) -> GraphModule:
    for node in list(gm.graph.nodes):
        if node.target is ops.linear and quant_of(node).dynamic is not None:
            _fold(gm, node)
    return surgery.clean(gm)


def _fold(gm: GraphModule, node: Node) -> None:
    arguments: dict[str, Any] = op_of(node).bind(node)  # type: ignore[union-attr]
    integers, q = arguments["weight"].args
    weight = surgery.fetch(gm, integers)
    scale = surgery.fetch(gm, q.scale) if isinstance(q.scale, Node) else torch.tensor(q.scale)
    tensors = {
        "weight": weight,
        "multiplier": scale.float().expand(len(weight)).contiguous(),
        "bias": _bias(gm, arguments["bias"], len(weight)),
    }
    constants = [surgery.own_constant(gm, node, name, tensor) for name, tensor in tensors.items()]
    settings = (quant_of(node).dynamic, FloatOutput())
    surgery.replace(node, surgery.emit(node, ops.dynamic_linear, arguments["x"], *constants, *settings, sources=[node]))


def _bias(gm: GraphModule, bias: Node | None, outputs: int) -> Tensor:
    """float32 [outputs]; -0.0 would show in the sign of a zero."""
    return torch.zeros(outputs) if bias is None else surgery.fetch(gm, bias).float() + 0.0
