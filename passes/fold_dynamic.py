"""linear(x, dequantize(w, s), b)                        -> dynamic_linear(x, w, s, b, …), or dynamic_linear_grouped
hidden_states(recurrent(x, dequantize(w, s), …, h0, c0)) -> dynamic_recurrent(x, w, …, s, …, h0, c0)
attention(q, k, v, mask, …)                              -> dynamic_attention(q, k, v, …, mask)
matmul(a, b, scale)                                      -> dynamic_matmul(a, b, scale), or, of a parameter b,
                                                            dynamic_linear(a, b^T, …)
conv2d(x, dequantize(w, s), b, …)                        -> dynamic_conv2d(x, w, s, b, …)    likewise other convolutions

and dynamic_recurrent_states where the last cell state is read too; of the ops that annotate_dynamic chose. They read
and write floats, so no quantize or dequantize stands around them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from fxquant import ops
from fxquant.graph import surgery
from fxquant.graph.annotation import quant_of
from fxquant.graph.pipeline import register_pass
from fxquant.ops.op import op_of
from fxquant.qparams import Dynamic, FloatOutput, float32, symmetric_codes

from .annotate_dynamic import is_matrix
from .fold_conv import ORDINARY, TRANSPOSED
from .fold_linear import outputs_first
from .fold_recurrent import gate_constants, readers


@register_pass(stage="fold")
def fold_dynamic(gm: GraphModule) -> GraphModule:
    folds = {ops.linear: _linear, ops.recurrent: _recurrent, ops.attention: _attention, ops.matmul: _matmul}
    folds |= dict.fromkeys(_CONVOLUTIONS, _convolution)
    for node in list(gm.graph.nodes):
        if node.target in folds and quant_of(node).dynamic is not None:
            folds[node.target](gm, node, op_of(node).bind(node))  # type: ignore[union-attr]
    return surgery.clean(gm)


def _linear(gm: GraphModule, node: Node, arguments: dict[str, Any]) -> None:
    weight, scale = integer_weight(gm, arguments)
    if scale.dim() == 2:
        bias = float_bias(gm, arguments["bias"], len(weight))
        constants = _owned(gm, node, {"weight": weight, "scale": scale.float(), "bias": bias})
        new = surgery.emit(node, ops.dynamic_linear_grouped, arguments["x"], **constants, sources=[node])
    else:
        constants = _constants(gm, node, weight, scale, arguments["bias"])
        if quant_of(node).integer_bias:
            constants["integer_bias"] = True
        new = surgery.emit(node, ops.dynamic_linear, arguments["x"], **constants, sources=[node])
    surgery.replace(node, new)


def _constants(gm: GraphModule, node: Node, weight: Tensor, scale: Tensor, bias: Node | None) -> dict[str, Any]:
    """Of a product with the int8 `weight` [O, ...], whose scales are `scale`, of any number."""
    tensors = {
        "weight": weight,
        "multiplier": scale.float().expand(len(weight)).contiguous(),
        "bias": float_bias(gm, bias, len(weight)),
    }
    return _owned(gm, node, tensors)


def _owned(gm: GraphModule, node: Node, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """`tensors` as buffers, and how the layer quantizes what it takes and bounds what it gives."""
    constants = {name: surgery.own_constant(gm, node, name, tensor) for name, tensor in tensors.items()}
    return {**constants, "dynamic": quant_of(node).dynamic, "output": FloatOutput()}


def _convolution(gm: GraphModule, node: Node, arguments: dict[str, Any]) -> None:
    op, flat = _CONVOLUTIONS[node.target]
    weight, scale = integer_weight(gm, arguments)
    if "output_padding" in arguments:
        weight, scale = outputs_first(weight, scale, arguments["weight"].args[1].axis, arguments["groups"])
    x = arguments["x"]
    if flat:  # an image of height 1
        weight, x = weight.unsqueeze(2), surgery.emit(node, ops.unsqueeze, x, 2)
    settings = {
        name: arguments[name] for name in ("stride", "padding", "output_padding", "dilation") if name in arguments
    }
    for name, sizes in settings.items():
        settings[name] = (int("padding" not in name), *sizes) if flat else tuple(sizes)
    constants = _constants(gm, node, weight, scale, arguments["bias"])
    new = surgery.emit(node, op, x, **constants, **settings, groups=arguments["groups"], sources=[node])
    surgery.replace(node, surgery.emit(node, ops.squeeze, new, (2,), sources=[node]) if flat else new)


def integer_weight(gm: GraphModule, arguments: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """The integers of a weight that is dequantized, and their scale or scales."""
    integers, q, *_ = arguments["weight"].args
    scale = surgery.fetch(gm, q.scale) if isinstance(q.scale, Node) else torch.tensor(q.scale)
    return surgery.fetch(gm, integers), scale


def float_bias(gm: GraphModule, bias: Node | None, outputs: int) -> Tensor:
    """float32 [outputs]; -0.0 would show in the sign of a zero."""
    return torch.zeros(outputs) if bias is None else surgery.fetch(gm, bias).float() + 0.0


def _recurrent(gm: GraphModule, node: Node, arguments: dict[str, Any]) -> None:
    hidden, cells = readers(node)
    settings = (arguments["kind"], arguments["reverse"], quant_of(node).dynamic, arguments["h0"], arguments["c0"])
    call = ops.dynamic_recurrent if cells is None else ops.dynamic_recurrent_states
    constants = gate_constants(gm, node, (1.0, 1.0))
    new = surgery.emit(node, call, arguments["x"], *constants, *settings, sources=[node])
    if hidden is not None and cells is None:
        surgery.replace(hidden, new)
        return
    new.meta["shape"] = node.meta.get("shape")
    for index, reader in enumerate((hidden, cells)):
        if reader is not None:
            surgery.replace(reader, surgery.emit(reader, ops.getitem, new, index, sources=[reader]))


def _attention(gm: GraphModule, node: Node, arguments: dict[str, Any]) -> None:
    surgery.replace(node, attend_floats(node, ops.dynamic_attention, arguments))


def _matmul(gm: GraphModule, node: Node, arguments: dict[str, Any]) -> None:
    a, b, scale = arguments["a"], arguments["b"], float32(arguments["scale"])
    if not is_matrix(b):
        surgery.replace(node, surgery.emit(node, ops.dynamic_matmul, a, b, scale, sources=[node]))
        return
    codes, scales = symmetric_codes(surgery.fetch(gm, b).detach(), (0,))
    constants = _constants(gm, node, (codes.int() - 128).to(torch.int8).T.contiguous(), scales.flatten() * scale, None)
    constants["dynamic"] = Dynamic()
    surgery.replace(node, surgery.emit(node, ops.dynamic_linear, a, **constants, sources=[node]))


def attend_floats(node: Node, op: Callable[..., Any], arguments: dict[str, Any]) -> Node:
    """A call of `op`, an attention of floats, in front of `node`, whose arguments it has."""
    inputs = (arguments["query"], arguments["key"], arguments["value"])
    settings = (arguments["causal"], float32(arguments["scale"]), arguments["mask"])
    new: Node = surgery.emit(node, op, *inputs, *settings, sources=[node])
    return new


_DYNAMIC: dict[Any, Callable[..., Any]] = {
    ops.int8_conv2d: ops.dynamic_conv2d,
    ops.int8_conv3d: ops.dynamic_conv3d,
    ops.int8_conv_transpose2d: ops.dynamic_conv_transpose2d,
    ops.int8_conv_transpose3d: ops.dynamic_conv_transpose3d,
}
# By the convolution: what takes its place, and whether of images of height 1.
_CONVOLUTIONS = {conv: (_DYNAMIC[int8], bool(flat)) for conv, int8, *flat in (*ORDINARY, *TRANSPOSED)}
