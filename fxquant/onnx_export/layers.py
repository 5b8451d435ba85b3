"""int8 layers in ONNX: what each computes on real numbers, between DequantizeLinear and QuantizeLinear.

The scale of an input is that of the layer which made it, its zero point is the reader's own. A weight's scale follows
from the multiplier of the requantize: multiplier = x_scale * weight_scale / y_scale. A table is a Gather.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node

from fxquant import ops
from fxquant.errors import UnsupportedError
from fxquant.onnx_export.builder import Builder, Export, registering
from fxquant.onnx_export.floats import averaged, conv_attributes, largest, padded, pooled, resized
from fxquant.ops.integer.pool import known_size
from fxquant.qparams import FloatOutput, Requantize
from fxquant.runtime.layer import OUTPUT_SCALE, Layer

LAYER_EXPORTS: dict[Callable[..., Any], Export] = {}
_exports = registering(LAYER_EXPORTS)


def export_layer(b: Builder, node: Node, layer: Layer) -> Any:
    """Appends what `layer` computes; returns the name of the result, or a list if it has several.

    Raises UnsupportedError for an unknown layer.
    """
    export = LAYER_EXPORTS.get(layer.integer_op)
    if export is None:
        raise UnsupportedError(f"there is no ONNX form of {type(layer).__name__}")
    scale = layer.constant(OUTPUT_SCALE)
    if scale is not None:
        b.scales[node] = scale
    return export(b, layer, *node.args)


@_exports(ops.quantize)
def _quantize(b: Builder, layer: Layer, x: Node) -> str:
    q = layer.constant("q")
    return b.quantize(b.name(x), q.scale, Requantize(q.zero_point, q.quant_min, q.quant_max))


@_exports(ops.dequantize)
def _dequantize(b: Builder, layer: Layer, x: Node) -> str:
    q = layer.constant("q")
    return b.dequantize(b.name(x), q.scale, q.zero_point)


@_exports(ops.int8_conv2d, ops.int8_conv3d)
def _conv(b: Builder, layer: Layer, x: Node, residual: Node | None = None) -> str:
    attributes = conv_attributes(*map(layer.constant, ("stride", "padding", "dilation", "groups")))
    real = b.add("Conv", *_operands(b, layer, x), **attributes)
    return _finished(b, layer, real, residual)


@_exports(ops.int8_conv_transpose2d, ops.int8_conv_transpose3d)
def _conv_transpose(b: Builder, layer: Layer, x: Node, residual: Node | None = None) -> str:
    attributes = conv_attributes(*map(layer.constant, ("stride", "padding", "dilation", "groups")))
    real_x, weight, bias = _operands(b, layer, x)
    weight = inputs_first(b, weight, layer.constant("weight").shape, layer.constant("groups"))
    real = b.add(
        "ConvTranspose", real_x, weight, bias, output_padding=list(layer.constant("output_padding")), **attributes
    )
    return _finished(b, layer, real, residual)


def inputs_first(b: Builder, weight: str, shape: Sequence[int], groups: int) -> str:
    """A weight [O, I / groups, ...] as [I, O / groups, ...]."""
    outputs, inputs, *kernel = shape
    by_group = b.add("Reshape", weight, b.integers([groups, outputs // groups, inputs, *kernel]))
    swapped = b.add("Transpose", by_group, perm=[0, 2, 1, *range(3, len(kernel) + 3)])
    return str(b.add("Reshape", swapped, b.integers([groups * inputs, outputs // groups, *kernel])))


@_exports(ops.int8_linear)
def _linear(b: Builder, layer: Layer, x: Node, residual: Node | None = None) -> str:
    if len(b.shape(x)) == 2:
        real = b.add("Gemm", *_operands(b, layer, x), transB=1)
    else:
        real_x, weight, bias = _operands(b, layer, x, transposed=True)
        real = b.add("Add", b.add("MatMul", real_x, weight), bias)
    return _finished(b, layer, real, residual)


def _operands(b: Builder, layer: Layer, x: Node, transposed: bool = False) -> tuple[str, str, str]:
    """Input, weight and bias as real numbers."""
    x_scale, bias = scale_of(b, x, 1.0), layer.constant("bias")
    y_scale = output_scale(layer) if layer.gives_integers else 1.0
    weight_scale = layer.constant("multiplier").double() * (y_scale / x_scale)
    weight = layer.constant("weight")
    return (
        b.dequantize(b.name(x), x_scale, layer.constant("x_zero_point")),
        b.dequantize_weight(weight.T if transposed else weight, weight_scale, 1 if transposed else 0),
        b.dequantize_weight(bias, weight_scale * x_scale, 0) if layer.gives_integers else b.constant(bias),
    )


def _finished(b: Builder, layer: Layer, real: str, residual: Node | None) -> str:
    """Adds the residual, requantizes and looks up; or bounds what stays float."""
    if not layer.gives_integers:
        return bounded(b, real, layer.constant("output"))
    scale, table = output_scale(layer), layer.constant("table")
    if residual is not None:
        r = layer.constant("residual_params")
        real = b.add("Add", real, b.dequantize(b.name(residual), r.multiplier * scale, r.zero_point))
    y = b.quantize(real, scale, layer.constant("output"))
    return y if table is None else _looked_up(b, y, table)


def bounded(b: Builder, real: str, output: FloatOutput) -> str:
    """`real` within the bounds of `output`."""
    if output == FloatOutput():
        return real
    low, high = (b.constant(np.float32(bound)) for bound in output)
    return str(b.add("Clip", real, low, high))


@_exports(ops.int8_add)
def _add(b: Builder, layer: Layer, x: Node, y: Node) -> str:
    # The second term may be subtracted; the scale of an integer is above 0.
    op = "Add" if layer.constant("b_multiplier") > 0 else "Sub"
    return b.quantize(b.add(op, *_both_scaled(b, layer, x, y)), output_scale(layer), layer.constant("output"))


def _both_scaled(b: Builder, layer: Layer, x: Node, y: Node) -> list[str]:
    scale = output_scale(layer)
    return [
        b.dequantize(
            b.name(node), abs(layer.constant(f"{role}_multiplier")) * scale, layer.constant(f"{role}_zero_point")
        )
        for node, role in ((x, "a"), (y, "b"))
    ]


@_exports(ops.int8_maximum)
def _maximum(b: Builder, layer: Layer, x: Node, y: Node) -> str:
    return b.quantize(b.add("Max", *_both_scaled(b, layer, x, y)), output_scale(layer), layer.constant("output"))


@_exports(ops.int8_minimum)
def _minimum(b: Builder, layer: Layer, x: Node, y: Node) -> str:
    return b.quantize(b.add("Min", *_both_scaled(b, layer, x, y)), output_scale(layer), layer.constant("output"))


@_exports(ops.int8_div)
def _div(b: Builder, layer: Layer, x: Node, y: Node) -> str:
    scale = output_scale(layer)
    b_scale = scale_of(b, y, 1.0)
    dividend = b.dequantize(b.name(x), layer.constant("multiplier") * scale * b_scale, layer.constant("a_zero_point"))
    divisor = b.dequantize(b.name(y), b_scale, layer.constant("b_zero_point"))
    return b.quantize(b.add("Div", dividend, divisor), scale, layer.constant("output"))


@_exports(ops.int8_mul)
def _mul(b: Builder, layer: Layer, x: Node, y: Node) -> str:
    scale = output_scale(layer)
    a_scale = scale_of(b, x, 1.0)
    factors = (
        b.dequantize(b.name(x), a_scale, layer.constant("a_zero_point")),
        b.dequantize(b.name(y), layer.constant("multiplier") * scale / a_scale, layer.constant("b_zero_point")),
    )
    return b.quantize(b.add("Mul", *factors), scale, layer.constant("output"))


@_exports(ops.lookup)
def _lookup(b: Builder, layer: Layer, x: Node) -> str:
    return _looked_up(b, b.name(x), layer.constant("table"), len(b.shape(x)))


def _looked_up(b: Builder, x: str, table: Tensor, rank: int = 0) -> str:
    """table[x], or table[c][x] for channel c: as one row of all tables, where row c begins at 256 * c."""
    index = b.add("Cast", x, to=b.onnx.TensorProto.INT32)
    if table.dim() == 2:
        starts = torch.arange(len(table), dtype=torch.int32) * table.shape[1]
        index = b.add("Add", index, b.constant(starts.reshape(-1, *[1] * (rank - 2))))
    return str(b.add("Gather", b.constant(table.reshape(-1)), index, axis=0))


@_exports(ops.int8_pad)
def _pad(b: Builder, layer: Layer, x: Node) -> str:
    return padded(b, x, layer.constant("pad"), np.uint8(layer.constant("value_code")))


@_exports(ops.int8_max_pool2d, ops.int8_max_pool3d)
def _max_pool_layer(b: Builder, layer: Layer, x: Node) -> str:
    names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    return pooled(b, "MaxPool", b.name(x), *map(layer.constant, names[:3]), **_max_pool(layer))


def _max_pool(layer: Layer) -> dict[str, Any]:
    return {"dilations": list(layer.constant("dilation")), "ceil_mode": int(layer.constant("ceil_mode"))}


@_exports(ops.int8_avg_pool2d, ops.int8_avg_pool3d)
def _avg_pool(b: Builder, layer: Layer, x: Node) -> str:
    kernel, stride, padding = map(layer.constant, ("kernel_size", "stride", "padding"))
    divisor = layer.constant("divisor_override")
    include = bool(layer.constant("count_include_pad") or divisor)
    attributes = {"ceil_mode": int(layer.constant("ceil_mode")), "count_include_pad": int(include)}
    real = pooled(b, "AveragePool", _pool_input(b, layer, x), kernel, stride, padding, **attributes)
    if divisor:
        real = b.add("Mul", real, b.constant(np.float32(np.prod(kernel) / divisor)))
    return b.quantize(real, output_scale(layer), layer.constant("output"))


@_exports(ops.int8_adaptive_avg_pool2d, ops.int8_adaptive_avg_pool3d)
def _adaptive_avg_pool(b: Builder, layer: Layer, x: Node) -> str:
    size = known_size(b.examples[x], layer.constant("output_size"))
    real = averaged(b, _pool_input(b, layer, x), b.shape(x), size)
    return b.quantize(real, output_scale(layer), layer.constant("output"))


@_exports(ops.int8_adaptive_max_pool2d, ops.int8_adaptive_max_pool3d)
def _adaptive_max_pool(b: Builder, layer: Layer, x: Node) -> str:
    return largest(b, b.name(x), b.shape(x), known_size(b.examples[x], layer.constant("output_size")))


def _pool_input(b: Builder, layer: Layer, x: Node) -> str:
    scale = layer.constant("multiplier") * output_scale(layer)
    return b.dequantize(b.name(x), scale, layer.constant("x_zero_point"))


@_exports(ops.int8_interpolate_nearest)
def _nearest(b: Builder, layer: Layer, x: Node, size: Any = None) -> str:
    return resized(b, b.name(x), b.known(size), layer.constant("scale"), "nearest", False)


@_exports(ops.int8_interpolate_bilinear)
def _bilinear(b: Builder, layer: Layer, x: Node, size: Any = None) -> str:
    scale, zero_point = scale_of(b, x, 1.0), layer.constant("x_zero_point")
    real = b.dequantize(b.name(x), scale, zero_point)
    aligned = layer.constant("align_corners")
    real = resized(b, real, b.known(size), layer.constant("scale"), "bilinear", aligned)
    return b.quantize(real, scale, Requantize(zero_point))


def scale_of(b: Builder, node: Node, unknown: float) -> float:
    """What one step of an integer stands for; any number will do where nothing but its reader says."""
    return b.scales.get(node, unknown)


def output_scale(layer: Layer) -> float:
    """What one step of the result stands for. Raises UnsupportedError if the layer does not say."""
    scale = layer.constant(OUTPUT_SCALE)
    if scale is None:
        raise UnsupportedError("what its integers stand for is unknown; convert the model with this fxquant")
    return float(scale)
