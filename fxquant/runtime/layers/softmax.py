"""softmax and log_softmax."""

from __future__ import annotations

from torch import Tensor

from fxquant import kernels, ops
from fxquant.kernels import _kernels
from fxquant.runtime.emitter import Emitter
from fxquant.runtime.layer import computes
from fxquant.runtime.layers.matmul import masked
from fxquant.runtime.layers.plain import Plain
from fxquant.runtime.value import Value
from fxquant.target import active_isa


class _AlongDimension(Plain):
    names = ("dim", "x_scale", "x_zero_point", "multiplier", "output")

    def crosses_examples(self, *inputs: Tensor) -> bool:
        return int(self.constant("dim")) % inputs[0].dim() == 0


@computes(ops.int8_softmax)
class Int8Softmax(_AlongDimension):
    """uint8 of any shape -> uint8; the mask is float32 or bool."""

    inputs = ("x", "mask")
    reals = ("mask",)

    def run(self, *inputs: Tensor) -> Tensor:
        x, mask = (*inputs, None)[:2]
        y: Tensor = kernels.softmax(x, mask, *self.derived_arguments)
        return y

    def emit(self, emitter: Emitter, y: Value, x: Value, mask: Value | None = None) -> None:
        (dim, *arguments), (mask, bools) = self.derived_arguments, masked(mask, x.shape)
        scratch = emitter.thread_scratch(_kernels.softmax_scratch_size(x.shape[dim]))
        operands = (*(t and t.moved_last(dim) for t in (y, x, mask)), scratch)
        emitter.call("softmax", operands, bools, *arguments, active_isa())


@computes(ops.int8_log_softmax)
class Int8LogSoftmax(_AlongDimension):
    """uint8 of any shape -> uint8."""

    kernel = staticmethod(kernels.log_softmax)

    def emit(self, emitter: Emitter, y: Value, x: Value) -> None:
        dim, *arguments = self.derived_arguments
        scratch = emitter.thread_scratch(_kernels.softmax_scratch_size(x.shape[dim]))
        emitter.call("log_softmax", (y.moved_last(dim), x.moved_last(dim), scratch), *arguments, active_isa())
