"""Sums and products of two tensors."""

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


@computes(ops.int8_add)
class Int8Add(_Binary):
    """uint8 + uint8 -> uint8, broadcast."""

    names = ("a_multiplier", "b_multiplier", "a_zero_point", "b_zero_point", "output")
    kernel = staticmethod(kernels.add)
    native = "add"


@computes(ops.int8_mul)
class Int8Mul(_Binary):
    """uint8 * uint8 -> uint8, broadcast."""

    names = ("multiplier", "a_zero_point", "b_zero_point", "output")
    kernel = staticmethod(kernels.mul)
    native = "mul"
