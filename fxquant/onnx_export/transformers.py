"""Products of activations, softmax, normalizations and embeddings in ONNX: on real numbers, and between Dequantize- and
QuantizeLinear.

Of int8 attention the rounding of the probabilities is a part of what it computes, so that is written out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node

from fxquant import ops
from fxquant.onnx_export.builder import Builder, registering
from fxquant.onnx_export.floats import FLOAT_EXPORTS
from fxquant.onnx_export.layers import LAYER_EXPORTS, output_scale, scale_of
from fxquant.ops.integer.attention import dither
from fxquant.ops.integer.embedding import unpacked
from fxquant.ops.integer.exponential import LOG2_E
from fxquant.runtime.layer import Layer

_float, _int8 = registering(FLOAT_EXPORTS), registering(LAYER_EXPORTS)
_LOWEST = np.finfo(np.float32).min


# Products.


@_float(ops.matmul)
def _matmul(b: Builder, x: Any, y: Any, scale: float) -> Any:
    return _times(b, b.add("MatMul", b.name(x), b.name(y)), scale)


@_int8(ops.int8_matmul)
def _int8_matmul(b: Builder, layer: Layer, x: Node, y: Node) -> str:
    x_scale = scale_of(b, x, 1.0)
    y_scale = layer.constant("multiplier") * output_scale(layer) / x_scale
    factors = (
        b.dequantize(b.name(x), x_scale, layer.constant("a_zero_point")),
        b.dequantize(b.name(y), y_scale, layer.constant("b_zero_point")),
    )
    return _quantized(b, layer, b.add("MatMul", *factors))


@_float(ops.attention)
def _attention(b: Builder, query: Any, key: Any, value: Any, mask: Any, causal: bool, scale: float) -> Any:
    transposed = _transposed(b, b.name(key), len(b.shape(key)))
    scores = _times(b, b.add("MatMul", b.name(query), transposed), scale)
    scores = _masked(b, scores, mask)
    if causal:
        scores = b.add("Add", scores, _causal(b, query, key))
    return b.add("MatMul", b.add("Softmax", scores, axis=-1), b.name(value))


@_int8(ops.int8_attention)
def _int8_attention(b: Builder, layer: Layer, query: Node, key: Node, value: Node, mask: Node | None = None) -> str:
    q_scale = scale_of(b, query, 1.0)
    k_scale = layer.constant("score_multiplier") / LOG2_E / q_scale
    q = b.dequantize(b.name(query), q_scale, layer.constant("query_zero_point"))
    k = b.dequantize(b.name(key), k_scale, layer.constant("key_zero_point"))
    v_scale = layer.constant("value_multiplier") * output_scale(layer)
    v = b.dequantize(b.name(value), v_scale, layer.constant("value_zero_point"))
    scores = _masked(b, b.add("MatMul", q, _transposed(b, k, len(b.shape(key)))), mask)
    if layer.constant("causal"):
        scores = b.add("Add", scores, _causal(b, query, key))
    return _quantized(b, layer, _averaged(b, scores, v, dither(b.shape(key)[-2]) / 256))


def _averaged(b: Builder, scores: str, value: str, offsets: Tensor) -> Any:
    """Rows of `value` averaged by 255ths of the largest probability, cut to integers after `offsets` [keys] were added;
    0 where a row of scores is -inf throughout."""
    top = b.add("ReduceMax", scores, b.integers([-1]), keepdims=1)
    distance = b.add("Sub", scores, b.add("Max", top, b.constant(_LOWEST)))
    parts = b.add("Mul", b.add("Exp", distance), b.constant(np.float32(255)))
    probabilities = b.add("Floor", b.add("Add", parts, b.constant(offsets)))
    total = b.add("ReduceSum", probabilities, b.integers([-1]), keepdims=1)
    total = b.add("Max", total, b.constant(np.float32(1)))
    return b.add("Div", b.add("MatMul", probabilities, value), total)


def _transposed(b: Builder, x: str, rank: int) -> Any:
    return b.add("Transpose", x, perm=[*range(rank - 2), rank - 1, rank - 2])


def _causal(b: Builder, query: Node, key: Node) -> str:
    beyond = torch.full((b.shape(query)[-2], b.shape(key)[-2]), -torch.inf).triu(1)
    return b.constant(beyond)


def _masked(b: Builder, scores: str, mask: Node | None) -> str:
    """With the mask added: of booleans, True keeps a score."""
    if mask is None:
        return scores
    added = b.name(mask)
    if b.examples[mask].dtype is torch.bool:
        added = b.add("Where", added, b.constant(np.float32(0)), b.constant(np.float32(-np.inf)))
    return str(b.add("Add", scores, added))


def _times(b: Builder, x: str, factor: float) -> str:
    return x if factor == 1.0 else str(b.add("Mul", x, b.constant(np.float32(factor))))


# Softmax.


@_float(ops.softmax)
def _softmax(b: Builder, x: Any, dim: int, mask: Any) -> Any:
    return b.add("Softmax", _masked(b, b.name(x), mask), axis=dim)


@_float(ops.log_softmax)
def _log_softmax(b: Builder, x: Any, dim: int) -> Any:
    return b.add("LogSoftmax", b.name(x), axis=dim)


@_int8(ops.int8_softmax)
def _int8_softmax(b: Builder, layer: Layer, x: Node, mask: Node | None = None) -> str:
    return _quantized(b, layer, b.add("Softmax", _masked(b, _scores(b, layer, x), mask), axis=layer.constant("dim")))


@_int8(ops.int8_log_softmax)
def _int8_log_softmax(b: Builder, layer: Layer, x: Node) -> str:
    return _quantized(b, layer, b.add("LogSoftmax", _scores(b, layer, x), axis=layer.constant("dim")))


def _scores(b: Builder, layer: Layer, x: Node) -> str:
    return b.dequantize(b.name(x), layer.constant("x_scale"), layer.constant("x_zero_point"))


# Normalizations.


@_float(ops.layer_norm)
def _layer_norm(b: Builder, x: Any, shape: Any, weight: Any, bias: Any, eps: float) -> Any:
    gain = b.constant(np.ones(shape, np.float32)) if weight is None else b.name(weight)
    shift = [] if bias is None else [b.name(bias)]
    return b.add("LayerNormalization", b.name(x), gain, *shift, axis=-len(shape), epsilon=eps)


@_int8(ops.int8_layer_norm)
def _int8_layer_norm(b: Builder, layer: Layer, x: Node) -> str:
    gain, shift = (b.constant(each) for each in _parameters(layer, "gain", "shift"))
    dims = len(layer.constant("normalized_shape"))
    real, eps = _centered(b, layer, x, 0)
    return _quantized(b, layer, b.add("LayerNormalization", real, gain, shift, axis=-dims, epsilon=eps))


@_float(ops.rms_norm)
def _rms_norm(b: Builder, x: Any, shape: Any, weight: Any, eps: float) -> Any:
    y = _by_mean_square(b, b.name(x), len(shape), eps)
    return y if weight is None else b.add("Mul", y, b.name(weight))


@_int8(ops.int8_rms_norm)
def _int8_rms_norm(b: Builder, layer: Layer, x: Node) -> str:
    [gain] = _parameters(layer, "gain")
    real, eps = _centered(b, layer, x, layer.constant("x_zero_point"))
    y = _by_mean_square(b, real, len(layer.constant("normalized_shape")), eps)
    return _quantized(b, layer, b.add("Mul", y, b.constant(gain)))


def _by_mean_square(b: Builder, x: str, dims: int, eps: float) -> Any:
    mean = b.add("ReduceMean", b.add("Mul", x, x), b.integers(range(-dims, 0)), keepdims=1)
    return b.add("Div", x, b.add("Sqrt", b.add("Add", mean, b.constant(np.float32(eps)))))


@_float(ops.group_norm)
def _group_norm(b: Builder, x: Any, groups: int, weight: Any, bias: Any, eps: float) -> Any:
    y = _by_groups(b, b.name(x), b.shape(x), groups, eps)
    for op, parameter in (("Mul", weight), ("Add", bias)):
        if parameter is not None:
            per_channel = b.integers([-1, *[1] * (len(b.shape(x)) - 2)])
            y = b.add(op, y, b.add("Reshape", b.name(parameter), per_channel))
    return y


@_int8(ops.int8_group_norm)
def _int8_group_norm(b: Builder, layer: Layer, x: Node) -> str:
    real, eps = _centered(b, layer, x, 0)
    y = _by_groups(b, real, b.shape(x), layer.constant("num_groups"), eps)
    for op, parameter in zip(("Mul", "Add"), _parameters(layer, "gain", "shift"), strict=True):
        y = b.add(op, y, b.constant(parameter.reshape(-1, *[1] * (len(b.shape(x)) - 2))))
    return _quantized(b, layer, y)


def _by_groups(b: Builder, x: str, shape: Sequence[int], groups: int, eps: float) -> Any:
    """Every group of channels as one channel of an instance norm."""
    ones, zeros = (b.constant(np.full(groups, value, np.float32)) for value in (1, 0))
    joined = b.add("Reshape", x, b.integers([0, groups, -1]))
    y = b.add("InstanceNormalization", joined, ones, zeros, epsilon=eps)
    return b.add("Reshape", y, b.integers([0, *shape[1:]]))


def _centered(b: Builder, layer: Layer, x: Node, zero_point: int) -> tuple[str, float]:
    """The input as real numbers, and eps beside them. A norm that subtracts the mean needs no true zero point."""
    scale = scale_of(b, x, 1.0)
    return b.dequantize(b.name(x), scale, zero_point), layer.constant("eps") * scale**2


def _parameters(layer: Layer, *names: str) -> list[Tensor]:
    return [layer.constant(name) * output_scale(layer) for name in names]


# Choices and rows.


@_float(ops.masked_fill)
def _masked_fill(b: Builder, x: Any, mask: Any, value: Any) -> Any:
    dtype = b.examples[x].numpy().dtype
    return b.add("Where", b.name(mask), b.constant(np.array(value, dtype)), b.name(x))


@_float(ops.where)
def _where(b: Builder, condition: Any, x: Any, y: Any) -> Any:
    return b.add("Where", *map(b.name, (condition, x, y)))


@_float(ops.embedding)
def _embedding(b: Builder, indices: Any, weight: Any) -> Any:
    return b.add("Gather", b.name(weight), b.name(indices), axis=0)


@_int8(ops.int8_embedding)
def _int8_embedding(b: Builder, layer: Layer, indices: Node) -> str:
    return str(b.add("Gather", b.constant(layer.constant("rows")), b.name(indices), axis=0))


@_int8(ops.rows_embedding)
def _rows_embedding(b: Builder, layer: Layer, indices: Node) -> str:
    codes = unpacked(layer.constant("rows"), layer.constant("width"))
    tables = [codes, *(layer.constant(name).unsqueeze(1) for name in ("zero_point", "scale"))]
    rows, zero_point, scale = (b.add("Gather", b.constant(t), b.name(indices), axis=0) for t in tables)
    real = b.add("Cast", rows, to=b.onnx.TensorProto.FLOAT)
    return str(b.add("Mul", b.add("Sub", real, zero_point), scale))


def _quantized(b: Builder, layer: Layer, real: str) -> str:
    return b.quantize(real, output_scale(layer), layer.constant("output"))
