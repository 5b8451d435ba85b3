"""Arithmetic of two tensors."""

from __future__ import annotations

from fxquant import kernels, ops
from fxquant.runtime.emitter import Emitter
from fxquant.runtime.layer import computes
from fxquant.runtime.layers.plain import Plain
from fxquant.runtime.value import Value
from fxquant.target import active_isa


class _Binary(Plain):
    """Two tensors that broadcast to the result's shape."""

    inputs = ("a", "b")
    overwrites = (0, 1)

    def emit(self, emitter: Emitter, y: Value, a: Value, b: Value) -> None:
        operands = (y, *(x.viewed(lambda t: t.expand(y.shape)) for x in (a, b)))
        emitter.call(self.native, operands, *self.derived_arguments, active_isa())


class _BothScaled(_Binary):
    names = ("a_multiplier", "b_multiplier", "a_zero_point", "b_zero_point", "output")


@computes(ops.int8_add)
class Int8Add(_BothScaled):
    """uint8 + uint8 -> uint8, broadcast."""

    kernel = staticmethod(kernels.add)
    native = "add"


@computes(ops.int8_mul)
class Int8Mul(_Binary):
    """uint8 * uint8 -> uint8, broadcast."""

    names = ("multiplier", "a_zero_point", "b_zero_point", "output")
    kernel = staticmethod(kernels.mul)
    native = "mul"


@computes(ops.int8_maximum)
class Int8Maximum(_BothScaled):
    """The larger of two uint8, broadcast."""

    kernel = staticmethod(kernels.maximum)
    native = "maximum"


@computes(ops.int8_minimum)
class Int8Minimum(_BothScaled):
    """The smaller of two uint8, broadcast."""

    kernel = staticmethod(kernels.minimum)
    native = "minimum"


@computes(ops.int8_div)
class Int8Div(_Binary):
    """uint8 / uint8 -> uint8, broadcast."""

    names = ("multiplier", "a_zero_point", "b_zero_point", "output")
    kernel = staticmethod(kernels.div)
    native = "div"
