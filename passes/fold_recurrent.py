"""hidden_states(recurrent(dequantize(x, p), dequantize(w, s), dequantize(v, u), …, dequantize(h0, q))), quantized to q
  -> int8_recurrent(x, w, v, …, s_x * s_w, s_h * s_v, …, h0)

and int8_recurrent_states where the last cell state is read too. Products are scaled back to reals, the gates'
arguments, so biases stay float. No rule says this, since one recurrence has several readers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from fxquant import ops, qparams
from fxquant.graph import surgery
from fxquant.graph.annotation import stays_float
from fxquant.graph.pipeline import register_pass
from fxquant.ops.integer.recurrent import gate_biases
from fxquant.ops.op import OPS
from fxquant.qparams import QParams


@register_pass(stage="fold")
def fold_recurrent(gm: GraphModule) -> GraphModule:
    for node in list(gm.graph.nodes):
        if node.target is ops.recurrent and not stays_float(node):
            _fold(gm, node)
    return surgery.clean(gm)


def _fold(gm: GraphModule, node: Node) -> None:
    hidden, cells = readers(node)
    quantize = _reader(hidden, ops.quantize) if hidden is not None else None
    arguments = OPS[ops.recurrent].bind(node)
    reals = [arguments[name] for name in ("x", "weight_ih", "weight_hh", "h0")]
    if quantize is None or not all(real is None or real.target is ops.dequantize for real in reals):
        return
    q: QParams = quantize.args[1]  # type: ignore[assignment]
    constants = gate_constants(gm, node, (arguments["x"].args[1].scale, q.scale))
    x, h0 = (None if real is None else real.args[0] for real in (arguments["x"], arguments["h0"]))
    call = ops.int8_recurrent if cells is None else ops.int8_recurrent_states
    settings = (
        arguments["kind"],
        arguments["reverse"],
        arguments["x"].args[1].zero_point,
        qparams.float32(float(q.scale)),
    )
    new = surgery.emit(
        *(quantize, call, x, *constants, *settings, qparams.bounds(q), h0, arguments["c0"]), sources=[node]
    )
    if cells is not None:
        new.meta["shape"], new.meta["qparams"] = node.meta.get("shape"), q
        last = surgery.emit(quantize, ops.getitem, new, 1, sources=[cells])
        last.meta.update(cells.meta)
        surgery.replace(cells, last)
        new = surgery.emit(quantize, ops.getitem, new, 0, sources=[node])
    surgery.replace(quantize, new)


def readers(node: Node) -> tuple[Node | None, Node | None]:
    """What takes the hidden states and the last cell state of a `recurrent`."""
    return _reader(node, ops.hidden_states), _reader(node, ops.cell_state)


def _reader(node: Node, call: Any) -> Node | None:
    return next((user for user in node.users if user.target is call), None)


def gate_constants(gm: GraphModule, node: Node, input_scales: tuple[Any, Any]) -> list[Node | None]:
    """Weights, biases and multipliers of both products of a `recurrent`, as buffers, for inputs of these scales."""
    arguments, found = OPS[ops.recurrent].bind(node), dict[str, Tensor | None]()
    ih, hh = (
        None if bias is None else surgery.fetch(gm, bias) for bias in (arguments["bias_ih"], arguments["bias_hh"])
    )
    for suffix, scale in zip(("ih", "hh"), input_scales, strict=True):
        integers, mapping = arguments[f"weight_{suffix}"].args
        weight = surgery.fetch(gm, integers)
        scales = surgery.fetch(gm, mapping.scale) if isinstance(mapping.scale, Node) else torch.tensor(mapping.scale)
        found[f"weight_{suffix}"] = weight
        found[f"multiplier_{suffix}"] = (scales.double() * scale).float().expand(len(weight)).contiguous()
    found["bias_ih"], found["bias_hh"] = gate_biases(arguments["kind"], ih, hh, len(weight))
    order = [f"{name}_{suffix}" for name in ("weight", "bias", "multiplier") for suffix in ("ih", "hh")]
    constants = [(name, found[name]) for name in order]
    return [None if tensor is None else surgery.own_constant(gm, node, name, tensor) for name, tensor in constants]
