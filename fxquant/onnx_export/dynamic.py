"""Layers in ONNX that take and give real numbers: of integers that are made at run time, or of integer weights alone.

    float x ─ DynamicQuantizeLinear ─ MatMulInteger ─ Cast ─ Mul ─ Add ─ float y        one scale for all of x
    float x ─ ReduceMin, ReduceMax … Cast ─ MatMulInteger ─ …                           one for each row or example

The second has no ONNX op, so qparams.dynamic_quantize is written out. NaN and infinity in x have no say in its result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node

from fxquant import ops
from fxquant.onnx_export.builder import Builder, registering
from fxquant.onnx_export.floats import conv_attributes
from fxquant.onnx_export.layers import LAYER_EXPORTS, bounded, inputs_first, output_scale, scale_of
from fxquant.onnx_export.transformers import averaged, masked, quantized, transposed
from fxquant.qparams import SMALLEST_SCALE, Dynamic, narrowest_step
from fxquant.runtime.layer import Layer

_exports = registering(LAYER_EXPORTS)


class Codes(NamedTuple):
    """Names: `codes` as float32 or uint8, `scale` float32 and `zero_point`, of the dtype of the codes."""

    codes: str
    scale: str
    zero_point: str


# Products of codes.


@_exports(ops.dynamic_linear)
def _linear(b: Builder, layer: Layer, x: Node, residual: Node | None = None) -> str:
    weight, dynamic = layer.constant("weight"), layer.constant("dynamic")
    columns = b.constant(weight.T)
    if dynamic == Dynamic(by_row=False):
        codes = Codes(*b.add("DynamicQuantizeLinear", b.name(x), outputs=3))
        acc = b.add("MatMulInteger", codes.codes, columns, codes.zero_point)
    else:
        codes = codes_of_rows(b, b.name(x), len(b.shape(x)), dynamic)
        sums = b.constant(weight.int().sum(1, dtype=torch.int32))
        acc = b.add("MatMulInteger", b.add("Cast", codes.codes, to=b.onnx.TensorProto.UINT8), columns)
        zero_point = b.add("Cast", codes.zero_point, to=b.onnx.TensorProto.INT32)
        acc = b.add("Sub", acc, b.add("Mul", zero_point, sums))
    y = _finished(b, layer, b.add("Cast", acc, to=b.onnx.TensorProto.FLOAT), codes.scale, (-1,))
    if layer.constant("activation"):
        y = {"gelu": _gelu, "gelu_tanh": _gelu_tanh, "silu": _silu}[layer.constant("activation")](b, y)
    return y if residual is None else str(b.add("Add", y, b.name(residual)))


@_exports(ops.dynamic_conv2d, ops.dynamic_conv3d)
def _conv(b: Builder, layer: Layer, x: Node) -> str:
    codes, weight, attributes = _convolved(b, layer, x)
    return _finished(b, layer, b.add("Conv", codes.codes, weight, **attributes), codes.scale, _beside(x, b))


@_exports(ops.dynamic_conv_transpose2d, ops.dynamic_conv_transpose3d)
def _conv_transpose(b: Builder, layer: Layer, x: Node) -> str:
    codes, weight, attributes = _convolved(b, layer, x)
    weight = inputs_first(b, weight, layer.constant("weight").shape, layer.constant("groups"))
    attributes["output_padding"] = list(layer.constant("output_padding"))
    return _finished(b, layer, b.add("ConvTranspose", codes.codes, weight, **attributes), codes.scale, _beside(x, b))


def _convolved(b: Builder, layer: Layer, x: Node) -> tuple[Codes, str, dict[str, Any]]:
    """Codes of images around 0, float32, the weight as float32 integers, and the attributes of the convolution.

    ConvInteger has one zero point for all examples. Sums of integers below 2^24 are exact in float32.
    """
    rank, dynamic = len(b.shape(x)), layer.constant("dynamic")
    scale, zero_point = _qparams(b, b.name(x), range(1, rank) if dynamic.by_row else range(rank), dynamic)
    codes = _clipped(b, b.add("Div", b.name(x), scale), zero_point, dynamic)
    weight = b.add("Cast", b.constant(layer.constant("weight")), to=b.onnx.TensorProto.FLOAT)
    attributes = conv_attributes(*map(layer.constant, ("stride", "padding", "dilation", "groups")))
    return Codes(b.add("Sub", codes, zero_point), scale, zero_point), weight, attributes


def _beside(x: Node, b: Builder) -> tuple[int, ...]:
    """The shape of one number a channel beside images."""
    return (-1, *[1] * (len(b.shape(x)) - 2))


def _finished(b: Builder, layer: Layer, acc: str, scale: str, shape: Sequence[int]) -> str:
    """float32 accumulators in units of the scales, plus the bias, within bounds; constants are of `shape`."""
    multiplier, bias = (b.constant(layer.constant(name).reshape(shape)) for name in ("multiplier", "bias"))
    step = b.add("Mul", scale, multiplier)
    if layer.constant("integer_bias"):
        bias = _integer_bias(b, layer.constant("bias").reshape(shape), step)
    return bounded(b, b.add("Add", b.add("Mul", acc, step), bias), layer.constant("output"))


def _integer_bias(b: Builder, bias: Tensor, step: str) -> str:
    """qparams.integer_bias at scales `step` of real numbers."""
    step = b.add("Max", step, b.constant(narrowest_step(bias)))
    steps: str = b.add("Round", b.add("Div", b.constant(bias), step))
    return str(b.add("Mul", steps, step))


@_exports(ops.dynamic_matmul)
def _matmul(b: Builder, layer: Layer, x: Node, y: Node) -> str:
    codes, columns = codes_of_rows(b, b.name(x), len(b.shape(x)), Dynamic()), _symmetric(b, b.name(y), (-2,))
    acc = b.add("MatMul", b.add("Sub", codes.codes, codes.zero_point), columns.codes)
    unit = b.add("Mul", columns.scale, b.constant(np.float32(layer.constant("scale"))))
    return str(b.add("Mul", b.add("Mul", acc, codes.scale), unit))


@_exports(ops.dynamic_attention)
def _attention(b: Builder, layer: Layer, query: Node, key: Node, value: Node, mask: Node | None = None) -> str:
    q, k = (_symmetric(b, b.name(x), (-2, -1)) for x in (query, key))
    v = _symmetric(b, b.name(value), (-2,))
    unit = b.add("Mul", b.add("Mul", q.scale, k.scale), b.constant(np.float32(layer.constant("scale"))))
    scores = b.add("Mul", b.add("MatMul", q.codes, transposed(b, k.codes, len(b.shape(key)))), unit)
    scores = masked(b, scores, query, key, mask, layer.constant("causal"))
    return str(b.add("Mul", averaged(b, scores, key, v.codes), v.scale))


# Codes that are made at run time.


def codes_of_rows(b: Builder, x: str, rank: int, dynamic: Dynamic) -> Codes:
    """Of float32 `x` with `rank` dimensions, float32, as of qparams.dynamic_quantize."""
    scale, zero_point = _qparams(b, x, [-1] if dynamic.by_row else range(rank), dynamic)
    inverse = b.add("Div", b.constant(np.float32(1)), scale)
    return Codes(_clipped(b, b.add("Mul", x, inverse), zero_point, dynamic), scale, zero_point)


def _qparams(b: Builder, x: str, axes: Sequence[int], dynamic: Dynamic) -> tuple[str, str]:
    """Scale and zero point over `axes`, float32, computed in double as by qparams.dynamic_qparams."""
    ends = []
    for reduce, bound in (("ReduceMin", "Min"), ("ReduceMax", "Max")):
        end = b.add(bound, b.add(reduce, x, b.integers(axes), keepdims=1), b.constant(np.float32(0)))
        ends.append(b.add("Cast", end, to=b.onnx.TensorProto.DOUBLE))
    low, high = ends
    least, most = (b.constant(np.float64(end)) for end in (dynamic.quant_min, dynamic.quant_max))
    steps = b.constant(np.float64(dynamic.quant_max - dynamic.quant_min))
    scale = b.add("Max", b.add("Div", b.add("Sub", high, low), steps), b.constant(np.float64(SMALLEST_SCALE)))
    zero_point = b.add("Round", b.add("Sub", least, b.add("Div", low, scale)))
    found = (scale, b.add("Clip", zero_point, least, most))
    scale, zero_point = (b.add("Cast", each, to=b.onnx.TensorProto.FLOAT) for each in found)
    return scale, zero_point


def _clipped(b: Builder, x: str, zero_point: str, dynamic: Dynamic) -> str:
    """Codes of `x` in units of its scale."""
    bounds = (b.constant(np.float32(end)) for end in (dynamic.quant_min, dynamic.quant_max))
    return str(b.add("Clip", b.add("Add", b.add("Round", x), zero_point), *bounds))


def _symmetric(b: Builder, x: str, axes: Sequence[int]) -> Codes:
    """Codes in -127..127, float32, with one scale over `axes`; the zero point is 0."""
    most = b.add("ReduceMax", b.add("Abs", x), b.integers(axes), keepdims=1)
    scale = b.add("Max", b.add("Div", most, b.constant(np.float32(127))), b.constant(np.float32(SMALLEST_SCALE)))
    units = b.add("Mul", x, b.add("Div", b.constant(np.float32(1)), scale))
    bounds = (b.constant(np.float32(end)) for end in (-127, 127))
    return Codes(b.add("Clip", b.add("Round", units), *bounds), scale, "")


# Integer weights with a scale for each group of inputs.


@_exports(ops.weight_only_linear)
def _weight_only(b: Builder, layer: Layer, x: Node) -> str:
    product = b.add("MatMul", b.name(x), _columns(b, layer.constant("weight"), layer.constant("scale")))
    bias = layer.constant("bias")
    real = product if bias is None else b.add("Add", product, b.constant(bias))
    return bounded(b, real, layer.constant("output"))


@_exports(ops.dynamic_linear_grouped)
def _dynamic_grouped(b: Builder, layer: Layer, x: Node) -> str:
    codes = codes_of_rows(b, b.name(x), len(b.shape(x)), layer.constant("dynamic")._replace(by_row=True))
    centered = b.add("Sub", codes.codes, codes.zero_point)
    product = b.add("MatMul", centered, _columns(b, layer.constant("weight"), layer.constant("scale")))
    real = b.add("Add", b.add("Mul", product, codes.scale), b.constant(layer.constant("bias")))
    return bounded(b, real, layer.constant("output"))


@_exports(ops.int8_linear_grouped)
def _grouped(b: Builder, layer: Layer, x: Node) -> str:
    x_scale, y_scale = scale_of(b, x, 1.0), output_scale(layer)
    scale = layer.constant("scale").double() * (layer.constant("multiplier") * y_scale / x_scale)
    real = b.dequantize(b.name(x), x_scale, layer.constant("x_zero_point"))
    product = b.add("MatMul", real, _columns(b, layer.constant("weight"), scale))
    return quantized(b, layer, b.add("Add", product, b.constant(layer.constant("shift") * y_scale)))


def _columns(b: Builder, weight: Tensor, scale: Tensor) -> str:
    """An int8 or float16 weight [N, K] with scales [N, groups], of 1 for the latter, as real numbers [K, N]."""
    if weight.dtype is torch.float16:
        return str(b.add("Cast", b.constant(weight.T), to=b.onnx.TensorProto.FLOAT))
    outputs, groups = scale.shape
    if groups == 1:
        return b.dequantize_weight(weight.T, scale[:, 0], 1)
    real = b.dequantize_weight(weight.reshape(outputs * groups, -1), scale.flatten(), 0)
    return str(b.add("Transpose", b.add("Reshape", real, b.integers(weight.shape)), perm=[1, 0]))


# What stands between such layers.


@_exports(ops.float_add)
def _float_add(b: Builder, layer: Layer, x: Node, y: Node) -> str:
    return str(b.add("Add", b.name(x), b.name(y)))


@_exports(ops.float_mul)
def _float_mul(b: Builder, layer: Layer, x: Node, y: Node) -> str:
    return str(b.add("Mul", b.name(x), b.name(y)))


@_exports(ops.float_silu)
def _float_silu(b: Builder, layer: Layer, x: Node) -> str:
    return _silu(b, b.name(x))


def _silu(b: Builder, x: str) -> str:
    return str(b.add("Mul", x, b.add("Sigmoid", x)))


@_exports(ops.float_gelu)
def _float_gelu(b: Builder, layer: Layer, x: Node) -> str:
    return _gelu(b, b.name(x))


def _gelu(b: Builder, x: str) -> str:
    return str(b.add("Gelu", x))


@_exports(ops.float_gelu_tanh)
def _float_gelu_tanh(b: Builder, layer: Layer, x: Node) -> str:
    return _gelu_tanh(b, b.name(x))


def _gelu_tanh(b: Builder, x: str) -> str:
    return str(b.add("Gelu", x, approximate="tanh"))
