"""Normalizations in ONNX: on real numbers, and between Dequantize- and QuantizeLinear."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.fx import Node

from fxquant import ops
from fxquant.onnx_export.builder import Builder, registering
from fxquant.onnx_export.floats import FLOAT_EXPORTS
from fxquant.onnx_export.layers import LAYER_EXPORTS, output_scale, scale_of
from fxquant.onnx_export.transformers import quantized
from fxquant.runtime.layer import Layer

_float, _int8 = registering(FLOAT_EXPORTS), registering(LAYER_EXPORTS)


@_float(ops.layer_norm)
def _layer_norm(b: Builder, x: Any, shape: Any, weight: Any, bias: Any, eps: float) -> Any:
    gain = b.constant(np.ones(shape, np.float32)) if weight is None else b.name(weight)
    shift = [] if bias is None else [b.name(bias)]
    return b.add("LayerNormalization", b.name(x), gain, *shift, axis=-len(shape), epsilon=eps)


@_int8(ops.float_layer_norm)
def _float_layer_norm(b: Builder, layer: Layer, x: Node) -> Any:
    gain, shift = layer.constant("gain"), layer.constant("shift")
    eps = layer.constant("eps")
    parameters = (b.constant(gain), b.constant(shift))
    return b.add("LayerNormalization", b.name(x), *parameters, axis=-gain.dim(), epsilon=eps)


@_int8(ops.int8_layer_norm)
def _int8_layer_norm(b: Builder, layer: Layer, x: Node) -> str:
    gain, shift = (b.constant(each) for each in _parameters(layer, "gain", "shift"))
    dims = len(layer.constant("normalized_shape"))
    real, eps = _centered(b, layer, x, 0)
    return quantized(b, layer, b.add("LayerNormalization", real, gain, shift, axis=-dims, epsilon=eps))


@_float(ops.rms_norm)
def _rms_norm(b: Builder, x: Any, shape: Any, weight: Any, eps: float) -> Any:
    y = _by_mean_square(b, b.name(x), len(shape), eps)
    return y if weight is None else b.add("Mul", y, b.name(weight))


@_int8(ops.float_rms_norm)
def _float_rms_norm(b: Builder, layer: Layer, x: Node) -> Any:
    gain = layer.constant("gain")
    return b.add("Mul", _by_mean_square(b, b.name(x), gain.dim(), layer.constant("eps")), b.constant(gain))


@_int8(ops.int8_rms_norm)
def _int8_rms_norm(b: Builder, layer: Layer, x: Node) -> str:
    [gain] = _parameters(layer, "gain")
    real, eps = _centered(b, layer, x, layer.constant("x_zero_point"))
    y = _by_mean_square(b, real, len(layer.constant("normalized_shape")), eps)
    return quantized(b, layer, b.add("Mul", y, b.constant(gain)))


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
    return quantized(b, layer, y)


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
