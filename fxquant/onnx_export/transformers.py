"""Products of activations and softmax in ONNX: on real numbers, and between Dequantize- and QuantizeLinear.

Of int8 attention the rounding of the probabilities is a part of what it computes, so that is written out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.fx import Node

from fxquant import ops
from fxquant.onnx_export.builder import Builder, registering
from fxquant.onnx_export.floats import FLOAT_EXPORTS
from fxquant.onnx_export.layers import LAYER_EXPORTS, output_scale, scale_of
from fxquant.ops.integer.attention import dither
from fxquant.ops.integer.exponential import LOG2_E
from fxquant.runtime.layer import Layer

_float, _int8 = registering(FLOAT_EXPORTS), registering(LAYER_EXPORTS)
_LOWEST = np.finfo(np.float32).min


# Products.


@_float(ops.matmul)
def _matmul(b: Builder, x: Any, y: Any, scale: float) -> Any:
    return times(b, b.add("MatMul", b.name(x), b.name(y)), scale)


@_int8(ops.int8_matmul)
def _int8_matmul(b: Builder, layer: Layer, x: Node, y: Node) -> str:
    x_scale = scale_of(b, x, 1.0)
    y_scale = layer.constant("multiplier") * output_scale(layer) / x_scale
    factors = (
        b.dequantize(b.name(x), x_scale, layer.constant("a_zero_point")),
        b.dequantize(b.name(y), y_scale, layer.constant("b_zero_point")),
    )
    return quantized(b, layer, b.add("MatMul", *factors))


@_float(ops.attention)
def _attention(b: Builder, query: Any, key: Any, value: Any, mask: Any, causal: bool, scale: float) -> Any:
    scores = times(b, b.add("MatMul", b.name(query), transposed(b, b.name(key), len(b.shape(key)))), scale)
    return b.add("MatMul", b.add("Softmax", masked(b, scores, query, key, mask, causal), axis=-1), b.name(value))


@_int8(ops.float_attention)
def _float_attention(b: Builder, layer: Layer, query: Node, key: Node, value: Node, mask: Node | None = None) -> Any:
    return _attention(b, query, key, value, mask, layer.constant("causal"), layer.constant("scale"))


@_int8(ops.int8_attention)
def _int8_attention(b: Builder, layer: Layer, query: Node, key: Node, value: Node, mask: Node | None = None) -> str:
    q_scale = scale_of(b, query, 1.0)
    k_scale = layer.constant("score_multiplier") / LOG2_E / q_scale
    q = b.dequantize(b.name(query), q_scale, layer.constant("query_zero_point"))
    k = b.dequantize(b.name(key), k_scale, layer.constant("key_zero_point"))
    v_scale = layer.constant("value_multiplier") * output_scale(layer)
    v = b.dequantize(b.name(value), v_scale, layer.constant("value_zero_point"))
    scores = b.add("MatMul", q, transposed(b, k, len(b.shape(key))))
    scores = masked(b, scores, query, key, mask, layer.constant("causal"))
    return quantized(b, layer, averaged(b, scores, key, v))


def averaged(b: Builder, scores: str, key: Node, value: str) -> Any:
    """Rows of `value` averaged by 255ths of the largest probability, cut to integers after the dither of each key was
    added; 0 where a row of scores is -inf throughout."""
    top = b.add("ReduceMax", scores, b.integers([-1]), keepdims=1)
    distance = b.add("Sub", scores, b.add("Max", top, b.constant(_LOWEST)))
    parts = b.add("Mul", b.add("Exp", distance), b.constant(np.float32(255)))
    probabilities = b.add("Floor", b.add("Add", parts, b.constant(dither(b.shape(key)[-2]) / 256)))
    total = b.add("ReduceSum", probabilities, b.integers([-1]), keepdims=1)
    total = b.add("Max", total, b.constant(np.float32(1)))
    return b.add("Div", b.add("MatMul", probabilities, value), total)


def transposed(b: Builder, x: str, rank: int) -> Any:
    """The last two dimensions of `x` swapped."""
    return b.add("Transpose", x, perm=[*range(rank - 2), rank - 1, rank - 2])


def masked(b: Builder, scores: str, query: Node, key: Node, mask: Node | None, causal: bool) -> str:
    """With the mask added, and -inf above the diagonal if it is causal."""
    scores = _with_mask(b, scores, mask)
    if not causal:
        return scores
    beyond = torch.full((b.shape(query)[-2], b.shape(key)[-2]), -torch.inf).triu(1)
    return str(b.add("Add", scores, b.constant(beyond)))


def _with_mask(b: Builder, scores: str, mask: Node | None) -> str:
    """With the mask added: of booleans, True keeps a score."""
    if mask is None:
        return scores
    if b.examples[mask].dtype is torch.bool:
        added = b.add("Where", b.name(mask), b.constant(np.float32(0)), b.constant(np.float32(-np.inf)))
    else:
        added = b.operand(mask, torch.float32)
    return str(b.add("Add", scores, added))


def times(b: Builder, x: str, factor: float) -> str:
    """`x` times a number."""
    return x if factor == 1.0 else str(b.add("Mul", x, b.constant(np.float32(factor))))


# Softmax.


@_float(ops.softmax)
def _softmax(b: Builder, x: Any, dim: int, mask: Any) -> Any:
    return b.add("Softmax", _with_mask(b, b.name(x), mask), axis=dim)


@_float(ops.log_softmax)
def _log_softmax(b: Builder, x: Any, dim: int) -> Any:
    return b.add("LogSoftmax", b.name(x), axis=dim)


@_int8(ops.int8_softmax)
def _int8_softmax(b: Builder, layer: Layer, x: Node, mask: Node | None = None) -> str:
    return quantized(b, layer, b.add("Softmax", _with_mask(b, _scores(b, layer, x), mask), axis=layer.constant("dim")))


@_int8(ops.int8_log_softmax)
def _int8_log_softmax(b: Builder, layer: Layer, x: Node) -> str:
    return quantized(b, layer, b.add("LogSoftmax", _scores(b, layer, x), axis=layer.constant("dim")))


def _scores(b: Builder, layer: Layer, x: Node) -> str:
    return b.dequantize(b.name(x), layer.constant("x_scale"), layer.constant("x_zero_point"))


def quantized(b: Builder, layer: Layer, real: str) -> str:
    """`real` as the integers that `layer` gives."""
    return b.quantize(real, output_scale(layer), layer.constant("output"))
