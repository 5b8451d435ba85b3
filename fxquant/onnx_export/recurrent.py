"""Recurrent layers in ONNX: LSTM, GRU and RNN on real numbers, with the scales of their weights.

Their hidden states are rounded to 8 bits where they come out, but not within the recurrence; those of dynamic layers
are not rounded. ONNX has the gates in another order: i, o, f, g of an LSTM and z, r, n of a GRU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from fxquant import ops
from fxquant.errors import UnsupportedError
from fxquant.onnx_export.builder import Builder, registering
from fxquant.onnx_export.dynamic import codes_of_rows
from fxquant.onnx_export.layers import LAYER_EXPORTS, scale_of
from fxquant.ops.recurrent import GATES
from fxquant.runtime.layer import Layer
from fxquant.runtime.layers import Int8RecurrentStates

_exports = registering(LAYER_EXPORTS)
_ORDER = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2), "rnn_tanh": (0,), "rnn_relu": (0,)}


@_exports(ops.int8_recurrent)
def _recurrent(b: Builder, layer: Layer, x: Node, h0: Node | None = None, c0: Node | None = None) -> Any:
    return _states(b, layer, x, h0, c0)[0]


@_exports(ops.int8_recurrent_states)
def _states(b: Builder, layer: Layer, x: Node, h0: Node | None = None, c0: Node | None = None) -> list[Any]:
    scale, output, x_scale = layer.constant("h_scale"), layer.constant("output"), scale_of(b, x, 1.0)
    real = b.dequantize(b.name(x), x_scale, layer.constant("x_zero_point"))
    hidden = None if h0 is None else b.dequantize(b.name(h0), scale, output.zero_point)
    y, last = _run(b, layer, real, (x_scale, scale), hidden, c0)
    return [b.quantize(y, scale, output), last]


@_exports(ops.dynamic_recurrent)
def _dynamic(b: Builder, layer: Layer, x: Node, h0: Node | None = None, c0: Node | None = None) -> Any:
    return _dynamic_states(b, layer, x, h0, c0)[0]


@_exports(ops.dynamic_recurrent_states)
def _dynamic_states(b: Builder, layer: Layer, x: Node, h0: Node | None = None, c0: Node | None = None) -> list[Any]:
    codes = codes_of_rows(b, b.name(x), 3, layer.constant("dynamic")._replace(by_row=True))
    real = b.add("Mul", b.add("Sub", codes.codes, codes.zero_point), codes.scale)
    return _run(b, layer, real, (1.0, 1.0), None if h0 is None else b.name(h0), c0)


@_exports(ops.dynamic_two_byte_recurrent_states)
def _two_bytes(b: Builder, layer: Layer, *inputs: Node) -> str:
    what = "there is no ONNX form of recurrent layers with 16-bit weights"
    raise UnsupportedError(f"{what}; prepare it under per_channel_dynamic_qconfig, or with None to keep it float")


def _run(b: Builder, layer: Layer, x: str, scales: tuple[float, float], h0: str | None, c0: Node | None) -> list[str]:
    """All hidden states [T, B, H], and the last cell state [B, H] (of an LSTM; else the last hidden state).

    `scales`: of what the multipliers of the two products have as a factor besides the scales of weights.
    """
    kind = layer.constant("kind")
    weights = [_weight(b, layer, suffix, kind, s) for suffix, s in zip(("ih", "hh"), scales, strict=True)]
    assert isinstance(layer, Int8RecurrentStates)
    bias = torch.cat([_in_order(each, kind) for each in layer.biases()])
    states = [None if h0 is None else _state(b, h0), None if c0 is None else _state(b, b.name(c0))]
    states = states if kind == "lstm" else states[:1]
    inputs = [x, *weights, b.constant(bias[None]), "", *(state or "" for state in states)]
    settings = {"hidden_size": layer.constant("weight_hh").shape[1]}
    if kind == "gru":
        settings["linear_before_reset"] = 1
    if kind == "rnn_relu":
        settings["activations"] = ["Relu"]
    direction = "reverse" if layer.constant("reverse") else "forward"
    count = 3 if kind == "lstm" else 2
    y, *_, last = b.add(kind.partition("_")[0].upper(), *inputs, outputs=count, direction=direction, **settings)
    # [T, directions, B, H] and [directions, B, H]
    return [b.add("Squeeze", y, b.integers([1])), b.add("Squeeze", last, b.integers([0]))]


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
