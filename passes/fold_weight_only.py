"""linear(x, dequantize(w, s), b)      -> weight_only_linear(x, w, s, b)
recurrent(x, dequantize(w, s), …)   -> recurrent(x, w, …), w of float16

of the ops that annotate_weight_only chose.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.fx import GraphModule, Node

from fxquant import ops
from fxquant.graph import surgery
from fxquant.graph.annotation import quant_of
from fxquant.graph.pipeline import register_pass
from fxquant.ops.op import op_of
from fxquant.qparams import FloatOutput

from .fold_dynamic import float_bias, integer_weight


@register_pass(stage="fold")
def fold_weight_only(gm: GraphModule) -> GraphModule:
    for node in list(gm.graph.nodes):
        if quant_of(node).weight_only:
            _FOLDS[node.target](gm, node, op_of(node).bind(node))  # type: ignore[union-attr]
    return surgery.clean(gm)


def _linear(gm: GraphModule, node: Node, arguments: dict[str, Any]) -> None:
    weight, scale = integer_weight(gm, arguments)
    tensors = {
        "weight": weight,
        "scale": scales_of_groups(scale, len(weight)),
        "bias": float_bias(gm, arguments["bias"], len(weight)),
    }
    constants = [surgery.own_constant(gm, node, name, tensor) for name, tensor in tensors.items()]
    new = surgery.emit(node, ops.weight_only_linear, arguments["x"], *constants, FloatOutput(), sources=[node])
    surgery.replace(node, new)


def _recurrent(gm: GraphModule, node: Node, arguments: dict[str, Any]) -> None:
    for name in ("weight_ih", "weight_hh"):
        widened = arguments[name]
        surgery.replace_in(widened.args[0], widened, [node])


_FOLDS: dict[Any, Any] = {ops.linear: _linear, ops.recurrent: _recurrent}


def scales_of_groups(scale: Tensor, outputs: int) -> Tensor:
    """float32 [outputs, groups] of one scale, one for each output, or one for each output and group."""
    return (scale if scale.dim() == 2 else scale.expand(outputs)[:, None]).float().contiguous()
