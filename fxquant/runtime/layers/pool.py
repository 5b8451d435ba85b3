"""Maxima and averages over windows of images."""

from __future__ import annotations

from torch import Tensor

from fxquant import kernels, ops
from fxquant.ops.integer.pool import known_size
from fxquant.runtime.emitter import Emitter
from fxquant.runtime.layer import computes
from fxquant.runtime.layers.plain import Plain
from fxquant.runtime.value import Value
from fxquant.target import active_isa


@computes(ops.int8_max_pool2d)
class Int8MaxPool2d(Plain):
    """uint8 [N, C, H, W] -> uint8 [N, C, OH, OW]."""

    names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    kernel = staticmethod(kernels.max_pool2d)

    def emit(self, emitter: Emitter, y: Value, x: Value) -> None:
        windows = kernels.pool_windows(x.shape[2:], *self.derived_arguments)
        emitter.call("max_pool2d", (y, emitter.images(x)), *windows[1:], active_isa())


@computes(ops.int8_avg_pool2d)
class Int8AvgPool2d(Plain):
    """uint8 [N, C, H, W] -> uint8 [N, C, OH, OW]."""

    names = (
        *("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
        *("multiplier", "x_zero_point", "output"),
    )
    kernel = staticmethod(kernels.avg_pool2d)

    def emit(self, emitter: Emitter, y: Value, x: Value) -> None:
        kernel, stride, padding, ceil_mode, include_padding, divisor, *requantize = self.derived_arguments
        windows = kernels.pool_windows(x.shape[2:], kernel, stride, padding, (1,), ceil_mode)
        constants = (*windows[1:4], include_padding, divisor or 0, *requantize, active_isa())
        emitter.call("avg_pool2d", (y, emitter.images(x)), *constants)


@computes(ops.int8_adaptive_avg_pool2d)
class Int8AdaptiveAvgPool2d(Plain):
    """uint8 [N, C, H, W] -> uint8 [N, C, *output_size], where None keeps the input's size."""

    names = ("output_size", "multiplier", "x_zero_point", "output")

    def run(self, *inputs: Tensor) -> Tensor:
        (x,), (output_size, *requantize) = inputs, self.derived_arguments
        return kernels.adaptive_avg_pool2d(x, known_size(x, output_size), *requantize)  # type: ignore[no-any-return]

    def emit(self, emitter: Emitter, y: Value, x: Value) -> None:
        emitter.call("adaptive_avg_pool2d", (y, emitter.images(x)), *self.derived_arguments[1:], active_isa())
