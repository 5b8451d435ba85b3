"""Images of other sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from fxquant import kernels, ops
from fxquant.ops.integer.resize import resizing
from fxquant.runtime.emitter import Emitter
from fxquant.runtime.layer import Layer, computes
from fxquant.runtime.value import Value
from fxquant.target import active_isa


class _Interpolate(Layer):
    """The output's size may depend on the input's, or be that of another tensor, so it is found at run time."""

    inputs = ("x", "size")
    names: tuple[str, ...] = ()
    kernel: Callable[..., Tensor]
    native = ""  # the kernel's name in programs

    def derive(self) -> None:
        self.derived_scale = self.constant("scale")
        self.derived_arguments = [self.constant(name) for name in self.names]

    def run(self, x: Tensor, size: Sequence[int] | int | None = None) -> Any:
        size, scale = resizing(x, size, self.derived_scale)
        return type(self).kernel(x, size, scale, *self.derived_arguments)

    def emit(self, emitter: Emitter, y: Value, x: Value, size: Any = None) -> None:
        _, scale = resizing(x.meta(), size, self.derived_scale)
        emitter.call(self.native, (y, emitter.images(x)), *scale, *self.derived_arguments, active_isa())


@computes(ops.int8_interpolate_bilinear)
class Int8InterpolateBilinear(_Interpolate):
    """uint8 [N, C, H, W] -> uint8 [N, C, OH, OW]."""

    names = ("align_corners", "x_zero_point")
    kernel = staticmethod(kernels.interpolate_bilinear)
    native = "interpolate_bilinear"


@computes(ops.int8_interpolate_nearest)
class Int8InterpolateNearest(_Interpolate):
    """uint8 [N, C, H, W] -> uint8 [N, C, OH, OW]."""

    kernel = staticmethod(kernels.interpolate_nearest)
    native = "interpolate_nearest"
