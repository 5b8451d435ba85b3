"""Pools of volumes, and adaptive maxima, on the kernels of images.

max             of rows and columns first, then of slices: the largest of the largest
average         the slices of a window become rows: pixel (d, h, w) is row h * slices + d of an image
adaptive avg    a window of slices and rows becomes the rows of an image, whose columns have windows
adaptive max    one dimension after the other; equal windows at once, others one by one
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fxquant import kernels, ops
from fxquant.errors import InputError
from fxquant.kernels.pool import Windows
from fxquant.ops.integer.pool import adaptive_window, known_size
from fxquant.ops.op import OPS
from fxquant.runtime import volumes
from fxquant.runtime.emitter import Emitter
from fxquant.runtime.layer import Layer, computes
from fxquant.runtime.value import Value
from fxquant.target import active_isa


class _Pool(Layer):
    """Node by node, the integer op itself computes the result; a program has kernels for it."""

    def derive(self) -> None:
        row = OPS[self.integer_op]
        self.derived_body = row.body
        self.derived_arguments = [self.constant(name) for name in row.signature.parameters if name != "x"]

    def _size(self, x: Any) -> Sequence[int]:
        """Of the result, along its spatial dimensions. Raises InputError if there is none."""
        raise NotImplementedError

    def run(self, x: Tensor) -> Any:
        shape = (*x.shape[:2], *self._size(x))
        memory_format = torch.channels_last if x.dim() == 4 else torch.channels_last_3d
        if x.is_meta:
            return torch.empty(shape, dtype=torch.uint8, device="meta", memory_format=memory_format)
        return self.derived_body(x, *self.derived_arguments).contiguous(memory_format=memory_format)


class _Windows(_Pool):
    """Windows of one size. Their number along each dimension is that of a pool over images."""

    def _windows(self, x: Any) -> tuple[Windows, Windows]:
        """Along the depth, where the columns are left alone, and within each slice."""
        names = ("kernel_size", "stride", "padding")
        kernel, stride, padding = map(self.constant, names)
        dilation = self.constant("dilation") or (1, 1, 1)
        if len(x.shape) != 5:
            raise InputError(f"it takes volumes [N, C, D, H, W], not {list(x.shape)}")
        ceil_mode = self.constant("ceil_mode")
        depth = ((kernel[0], 1), (stride[0], 1), (padding[0], 0), (dilation[0], 1))
        slices = (kernel[1:], stride[1:], padding[1:], dilation[1:])
        return (
            kernels.pool_windows((x.shape[2], 1), *depth, ceil_mode),
            kernels.pool_windows(x.shape[3:], *slices, ceil_mode),
        )

    def _size(self, x: Any) -> Sequence[int]:
        depth, slices = self._windows(x)
        return (depth.output_size[0], *slices.output_size)


@computes(ops.int8_max_pool3d)
class Int8MaxPool3d(_Windows):
    """uint8 [N, C, D, H, W] -> uint8 [N, C, OD, OH, OW]."""

    def emit(self, emitter: Emitter, y: Value, x: Value) -> None:
        depth, slices = self._windows(x)
        within = volumes.new(emitter, (*x.shape[:3], *slices.output_size))
        for operands in volumes.images(within, volumes.channels_last(emitter, x)):
            emitter.call("max_pool2d", operands, *slices[1:], active_isa())
        emitter.call("max_pool2d", map(volumes.by_slice, (y, within)), *depth[1:], active_isa())


@computes(ops.int8_avg_pool3d)
class Int8AvgPool3d(_Windows):
    """uint8 [N, C, D, H, W] -> uint8 [N, C, OD, OH, OW]."""

    def emit(self, emitter: Emitter, y: Value, x: Value) -> None:
        x = volumes.channels_last(emitter, x)
        _, (_, kernel, stride, padding, _) = self._windows(x)
        include, divisor, *requantize = self.derived_arguments[4:]
        for i in range(y.shape[2]):
            image, n = self._rows(emitter, x, i)
            window = [[size * n, other] for size, other in (kernel, stride, padding)]
            constants = (*window, include, divisor or 0, *_flat(requantize), active_isa())
            emitter.call("avg_pool2d", (volumes.slice_of(y, i), image), *constants)

    def _rows(self, emitter: Emitter, x: Value, i: int) -> tuple[Value, int]:
        """The slices of window `i` along the depth as rows (row h of each, then row h + 1), and how many they are."""
        size = x.shape[2]
        kernel, stride, padding = (self.constant(name)[0] for name in ("kernel_size", "stride", "padding"))
        begin = i * stride - padding
        end = min(begin + kernel, size + padding)
        first, last = max(begin, 0), min(end, size)
        if not self.constant("count_include_pad"):
            begin, end = first, last
        if end - begin == 1 and last - first == 1:
            return volumes.slice_of(x, first), 1
        n, c, _, h, w = x.shape
        whole = emitter.new(volumes.images_like((n, c, h * (end - begin), w)))
        if (first, last) != (begin, end):
            emitter.call("fill", (whole,), self.constant("x_zero_point"))
        rows: Value = whole.viewed(lambda t: t.unflatten(2, (h, end - begin)).transpose(2, 3))
        emitter.call("copy", (rows.narrow(2, first - begin, last - first), x.narrow(2, first, last - first)))
        return whole, end - begin


def _flat(requantize: Sequence[Any]) -> list[Any]:
    multiplier, x_zero_point, output = requantize
    return [multiplier, x_zero_point, *output]


class _Adaptive(_Pool):
    def _size(self, x: Any) -> Sequence[int]:
        asked = self.constant("output_size")
        if len(x.shape) != len(asked) + 2 or min(known_size(x, asked)) < 1:
            raise InputError(f"an input of shape {list(x.shape)} gives no output of size {list(asked)}")
        return known_size(x, asked)


@computes(ops.int8_adaptive_avg_pool3d)
class Int8AdaptiveAvgPool3d(_Adaptive):
    """uint8 [N, C, D, H, W] -> uint8 [N, C, *output_size], where None keeps the input's size."""

    def emit(self, emitter: Emitter, y: Value, x: Value) -> None:
        x = volumes.channels_last(emitter, x)
        for i in range(y.shape[2]):
            begin, end = adaptive_window(i, x.shape[2], y.shape[2])
            slices, to = x.narrow(2, begin, end - begin), volumes.slice_of(y, i)
            for j in range(y.shape[3]):
                begin, end = adaptive_window(j, x.shape[3], y.shape[3])
                image = volumes.stacked(emitter, slices.narrow(3, begin, end - begin))
                constants = (*_flat(self.derived_arguments[1:]), active_isa())
                emitter.call("adaptive_avg_pool2d", (to.narrow(2, j, 1), image), *constants)


def _largest(emitter: Emitter, y: Any, x: Any, dim: int) -> None:
    """The largest of each of y.shape[dim] windows along one dimension of images."""
    size, out = x.shape[dim], y.shape[dim]
    pieces = [(y, x, size // out)]
    if size % out:
        windows = [adaptive_window(i, size, out) for i in range(out)]
        pieces = [
            (y.narrow(dim, i, 1), x.narrow(dim, begin, end - begin), end - begin)
            for i, (begin, end) in enumerate(windows)
        ]
    for to, read, length in pieces:
        kernel = [length, 1] if dim == 2 else [1, length]
        emitter.call("max_pool2d", (to, read), kernel, kernel, [0, 0], [1, 1], active_isa())


@computes(ops.int8_adaptive_max_pool2d)
class Int8AdaptiveMaxPool2d(_Adaptive):
    """uint8 [N, C, H, W] -> uint8 [N, C, *output_size], where None keeps the input's size."""

    def emit(self, emitter: Emitter, y: Value, x: Value) -> None:
        rows = emitter.new(volumes.images_like((*y.shape[:3], x.shape[3])))
        _largest(emitter, rows, emitter.images(x), 2)
        _largest(emitter, y, rows, 3)


@computes(ops.int8_adaptive_max_pool3d)
class Int8AdaptiveMaxPool3d(_Adaptive):
    """uint8 [N, C, D, H, W] -> uint8 [N, C, *output_size], where None keeps the input's size."""

    def emit(self, emitter: Emitter, y: Value, x: Value) -> None:
        rows = volumes.new(emitter, (*x.shape[:3], y.shape[3], x.shape[4]))
        columns = volumes.new(emitter, (*x.shape[:3], *y.shape[3:]))
        for dim, to, read in ((2, rows, volumes.channels_last(emitter, x)), (3, columns, rows)):
            for y_images, x_images in volumes.images(to, read):
                _largest(emitter, y_images, x_images, dim)
        _largest(emitter, volumes.by_slice(y), volumes.by_slice(columns), 2)
