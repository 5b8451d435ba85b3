"""Ops that stay float in ONNX, and the parts that integer layers share with them."""

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
from fxquant.ops.integer.pool import known_size

FLOAT_EXPORTS: dict[Callable[..., Any], Export] = {}
_exports = registering(FLOAT_EXPORTS)


def conv_attributes(stride: Any, padding: Any, dilation: Any, groups: int) -> dict[str, Any]:
    """Of Conv; `padding` is one number a dimension, or begins and ends."""
    pads = list(padding) if len(padding) == 2 * len(stride) else [*padding, *padding]
    return {"strides": list(stride), "pads": pads, "dilations": list(dilation), "group": groups}


@_exports(ops.conv1d, ops.conv2d, ops.conv3d)
def _conv(b: Builder, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: Any) -> Any:
    operands = [b.name(value) for value in (x, weight, bias) if value is not None]
    return b.add("Conv", *operands, **conv_attributes(stride, padding, dilation, groups))


@_exports(ops.conv_transpose1d, ops.conv_transpose2d, ops.conv_transpose3d)
def _conv_transpose(
    b: Builder,
    x: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: Any,
    dilation: Any,
) -> Any:
    operands = [b.name(value) for value in (x, weight, bias) if value is not None]
    attributes = conv_attributes(stride, padding, dilation, groups)
    return b.add("ConvTranspose", *operands, output_padding=list(output_padding), **attributes)


@_exports(ops.linear)
def _linear(b: Builder, x: Any, weight: Any, bias: Any = None) -> Any:
    product = b.add("MatMul", b.name(x), b.add("Transpose", b.name(weight), perm=[1, 0]))
    return product if bias is None else b.add("Add", product, b.name(bias))


@_exports(ops.batch_norm)
def _batch_norm(b: Builder, x: Any, mean: Any, var: Any, weight: Any, bias: Any, eps: float) -> Any:
    channels = b.shape(mean)
    gain = b.constant(np.ones(channels, np.float32)) if weight is None else b.name(weight)
    shift = b.constant(np.zeros(channels, np.float32)) if bias is None else b.name(bias)
    return b.add("BatchNormalization", b.name(x), gain, shift, b.name(mean), b.name(var), epsilon=eps)


def _elementwise(call: Callable[..., Any], op: str, *names: str, **attributes: Any) -> None:
    """An ONNX node of the same meaning, whose attributes `names` are the arguments behind the first."""

    @_exports(call)
    def export(b: Builder, x: Any, *values: Any) -> Any:
        return b.add(op, b.operand(x), **dict(zip(names, values, strict=False)), **attributes)


_elementwise(ops.relu, "Relu")
_elementwise(ops.abs, "Abs")
_elementwise(ops.sigmoid, "Sigmoid")
_elementwise(ops.tanh, "Tanh")
_elementwise(ops.hardswish, "HardSwish")
_elementwise(ops.hardsigmoid, "HardSigmoid", alpha=1 / 6, beta=0.5)
_elementwise(ops.gelu, "Gelu", "approximate")
_elementwise(ops.elu, "Elu", "alpha")
_elementwise(ops.leaky_relu, "LeakyRelu", "alpha")
_elementwise(ops.mish, "Mish")


@_exports(ops.silu)
def _silu(b: Builder, x: Any) -> Any:
    return b.add("Mul", b.name(x), b.add("Sigmoid", b.name(x)))


@_exports(ops.rsqrt)
def _rsqrt(b: Builder, x: Any) -> Any:
    return b.add("Reciprocal", b.add("Sqrt", b.name(x)))


@_exports(ops.clamp)
def _clamp(b: Builder, x: Any, low: float | None, high: float | None) -> Any:
    bounds = ["" if bound is None else b.constant(np.float32(bound)) for bound in (low, high)]
    return b.add("Clip", b.name(x), *bounds)


@_exports(ops.prelu)
def _prelu(b: Builder, x: Any, weight: Any) -> Any:
    shape = [-1, *[1] * (len(b.shape(x)) - 2)]
    return b.add("PRelu", b.name(x), b.add("Reshape", b.name(weight), b.integers(shape)))


def _binary(call: Callable[..., Any], op: str) -> None:
    @_exports(call)
    def export(b: Builder, x: Any, y: Any) -> Any:
        return b.add(op, b.operand(x), b.operand(y))


_binary(ops.add, "Add")
_binary(ops.sub, "Sub")
_binary(ops.mul, "Mul")
_binary(ops.div, "Div")
_binary(ops.pow, "Pow")
_binary(ops.maximum, "Max")
_binary(ops.minimum, "Min")


def pooled(b: Builder, op: str, x: str, kernel: Any, stride: Any, padding: Any, **attributes: Any) -> str:
    """A MaxPool or an AveragePool."""
    window: dict[str, Any] = {
        "kernel_shape": list(kernel),
        "strides": list(stride or kernel),
        "pads": [*padding, *padding],
    }
    return str(b.add(op, x, **window, **attributes))


@_exports(ops.max_pool1d, ops.max_pool2d, ops.max_pool3d)
def _max_pool(b: Builder, x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool) -> Any:
    attributes = {"dilations": list(dilation), "ceil_mode": int(ceil_mode)}
    return pooled(b, "MaxPool", b.name(x), kernel, stride, padding, **attributes)


@_exports(ops.avg_pool1d, ops.avg_pool2d, ops.avg_pool3d)
def _avg_pool(
    b: Builder, x: Any, kernel: Any, stride: Any, padding: Any, ceil_mode: bool, include: bool, divisor: Any = None
) -> Any:
    attributes = {"ceil_mode": int(ceil_mode), "count_include_pad": int(include or divisor is not None)}
    y = pooled(b, "AveragePool", b.name(x), kernel, stride, padding, **attributes)
    return y if divisor is None else b.add("Mul", y, b.constant(np.float32(np.prod(kernel) / divisor)))


@_exports(ops.adaptive_avg_pool1d, ops.adaptive_avg_pool2d, ops.adaptive_avg_pool3d)
def _adaptive_avg_pool(b: Builder, x: Any, output_size: Any) -> Any:
    return averaged(b, b.name(x), b.shape(x), known_size(b.examples[x], output_size))


def averaged(b: Builder, x: str, shape: Sequence[int], size: Sequence[int]) -> Any:
    """Images or volumes averaged to `size`: all pixels, equal windows, or else the example's windows as matrices."""
    if set(size) == {1}:
        return b.add("GlobalAveragePool", x)
    window = _equal_windows(shape, size)
    if window is not None:
        return b.add("AveragePool", x, kernel_shape=window, strides=window)
    for dim, (length, out) in enumerate(zip(shape[2:], size, strict=True), 2):
        order = list(range(len(shape)))
        order[dim], order[-1] = order[-1], order[dim]
        last = b.add("MatMul", b.add("Transpose", x, perm=order), b.constant(_averages(length, out).T))
        x = b.add("Transpose", last, perm=order)
    return x


def _equal_windows(shape: Sequence[int], size: Sequence[int]) -> list[int] | None:
    """The windows that divide each dimension, or None if some differ in size."""
    pairs = list(zip(shape[2:], size, strict=True))
    return None if any(length % out for length, out in pairs) else [length // out for length, out in pairs]


@_exports(ops.adaptive_max_pool1d, ops.adaptive_max_pool2d, ops.adaptive_max_pool3d)
def _adaptive_max_pool(b: Builder, x: Any, output_size: Any) -> Any:
    return largest(b, b.name(x), b.shape(x), known_size(b.examples[x], output_size))


def largest(b: Builder, x: str, shape: Sequence[int], size: Sequence[int]) -> str:
    """The largest of each of `size` windows of images or volumes."""
    window = _equal_windows(shape, size)
    if window is None:
        raise UnsupportedError(f"an adaptive maximum of {list(shape[2:])} to {list(size)} has windows of several sizes")
    return str(b.add("MaxPool", x, kernel_shape=window, strides=window))


def _averages(size: int, out: int) -> Tensor:
    """[out, size]: row o averages the positions of output o."""
    return torch.nn.functional.adaptive_avg_pool1d(torch.eye(size)[None], out)[0].T.contiguous()


@_exports(ops.mean)
def _mean(b: Builder, x: Any, dim: Any, keepdim: bool) -> Any:
    return b.add("ReduceMean", b.name(x), b.integers(dim), keepdims=int(keepdim))


@_exports(ops.interpolate)
def _interpolate(b: Builder, x: Any, size: Any, scale: Any, mode: str, align_corners: bool | None) -> Any:
    return resized(b, b.name(x), b.known(size), scale, mode, bool(align_corners))


def resized(b: Builder, x: str, size: Any, scale: Any, mode: str, align_corners: bool) -> str:
    """Images at the size of the example, or at `scale` times their own."""
    if mode not in ("nearest", "bilinear"):
        raise UnsupportedError(f"interpolation of mode {mode!r} has no ONNX form here")
    nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    linear = {"mode": "linear", "coordinate_transformation_mode": "align_corners" if align_corners else "half_pixel"}
    attributes: dict[str, Any] = nearest if mode == "nearest" else linear
    if size is None:
        return str(b.add("Resize", x, "", b.constant(np.array(scale, np.float32)), axes=[2, 3], **attributes))
    sides = (size, size) if isinstance(size, int) else tuple(size)
    return str(b.add("Resize", x, "", "", b.integers(sides), axes=[2, 3], **attributes))


@_exports(ops.pad)
def _pad(b: Builder, x: Any, amounts: Any, mode: str, value: float) -> Any:
    return padded(b, x, b.known(amounts), b.examples[x].new_tensor(value), mode)


_PAD_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def padded(b: Builder, x: Node, amounts: Sequence[int], value: Any, mode: str = "constant") -> str:
    """`amounts` count from the last dimension: (left, right, top, bottom …)."""
    outer = [0] * (len(b.shape(x)) - len(amounts) // 2)
    begins, ends = [*outer, *amounts[::2][::-1]], [*outer, *amounts[1::2][::-1]]
    return str(b.add("Pad", b.name(x), b.integers([*begins, *ends]), b.constant(value), mode=_PAD_MODES[mode]))
