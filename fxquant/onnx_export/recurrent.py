"""Recurrent layers in ONNX: LSTM, GRU and RNN on real numbers, with the scales of their weights.

Their hidden states are rounded to 8 bits where they come out, but not within the recurrence. ONNX has the gates in
another order: i, o, f, g of an LSTM and z, r, n of a GRU.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.fx import Node

from fxquant import ops
from fxquant.onnx_export.builder import Builder, registering
from fxquant.onnx_export.layers import LAYER_EXPORTS, scale_of
from fxquant.ops.recurrent import GATES
from fxquant.runtime.layer import Layer
from fxquant.runtime.layers import Int8Recurrent

_exports = registering(LAYER_EXPORTS)
_ORDER = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2), "rnn_tanh": (0,), "rnn_relu": (0,)}


@_exports(ops.int8_recurrent)
def _recurrent(b: Builder, layer: Layer, x: Node, h0: Node | None = None, c0: Node | None = None) -> str:
    kind, scale, output = (layer.constant(name) for name in ("kind", "h_scale", "output"))
    x_scale = scale_of(b, x, 1.0)
    weights = [_weight(b, layer, suffix, kind, s) for suffix, s in (("ih", x_scale), ("hh", scale))]
    assert isinstance(layer, Int8Recurrent)
    bias = torch.cat([_in_order(each, kind) for each in layer.biases()])
    inputs = [b.dequantize(b.name(x), x_scale, layer.constant("x_zero_point")), *weights, b.constant(bias[None]), ""]
    if h0 is not None:
        inputs.append(_state(b, b.dequantize(b.name(h0), scale, output.zero_point)))
    if c0 is not None:
        inputs.append(_state(b, b.name(c0)))
    settings = {"hidden_size": layer.constant("weight_hh").shape[1]}
    if kind == "gru":
        settings["linear_before_reset"] = 1
    if kind == "rnn_relu":
        settings["activations"] = ["Relu"]
    direction = "reverse" if layer.constant("reverse") else "forward"
    y = b.add(kind.partition("_")[0].upper(), *inputs, direction=direction, **settings)
    return b.quantize(b.add("Squeeze", y, b.integers([1])), scale, output)  # [T, directions, B, H]


def _weight(b: Builder, layer: Layer, suffix: str, kind: str, scale: float) -> str:
    """[1, G * H, K], as real numbers; `scale` is that of what it is multiplied with."""
    scales = layer.constant(f"multiplier_{suffix}").double() / scale
    weight = _in_order(layer.constant(f"weight_{suffix}"), kind)
    return b.dequantize_weight(weight[None], _in_order(scales, kind), 1)


def _in_order(rows: Tensor, kind: str) -> Tensor:
    """Rows of gates in the order of ONNX."""
    gates = rows.chunk(GATES[kind])
    return torch.cat([gates[i] for i in _ORDER[kind]])


def _state(b: Builder, state: str) -> str:
    """[B, H] as [1, B, H]."""
    return str(b.add("Unsqueeze", state, b.integers([0])))
