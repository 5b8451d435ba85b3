"""Normalizations by the statistics of the input."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fxquant import kernels, ops
from fxquant.kernels import _kernels
from fxquant.runtime.emitter import Emitter
from fxquant.runtime.layer import Layer, computes
from fxquant.runtime.value import Value
from fxquant.target import active_isa


@computes(ops.int8_layer_norm)
class Int8LayerNorm(Layer):
    """uint8 [..., *normalized_shape] -> uint8."""

    any_strides = False
    overwrites = (0,)

    def derive(self) -> None:
        self.derived_gain = self.constant("gain").reshape(self.constant("normalized_shape")).contiguous()
        self.derived_shift = self._shift()
        self.derived_arguments = [self.constant("eps"), self.constant("x_zero_point") or 0, *self.constant("output")]

    def _shift(self) -> Tensor | None:
        shift: Tensor = self.constant("shift")
        return shift.contiguous()

    def crosses_examples(self, *inputs: Tensor) -> bool:
        return inputs[0].dim() == len(self.constant("normalized_shape"))

    def run(self, x: Tensor) -> Any:
        return kernels.layer_norm(x, self.derived_gain, self.derived_shift, *self.derived_arguments)

    def emit(self, emitter: Emitter, y: Value, x: Value) -> None:
        dims = self.derived_gain.dim()
        operands = (emitter.rows(y, dims), emitter.rows(x, dims))
        parameters = [0 if t is None else emitter.constant(t) for t in (self.derived_gain, self.derived_shift)]
        emitter.call("layer_norm", operands, *parameters, *self.derived_arguments, active_isa())


@computes(ops.int8_rms_norm)
class Int8RmsNorm(Int8LayerNorm):
    """uint8 [..., *normalized_shape] -> uint8."""

    def _shift(self) -> None:
        return None


@computes(ops.int8_group_norm)
class Int8GroupNorm(Layer):
    """uint8 [N, C, ...] -> uint8, channels last."""

    any_strides = False

    def derive(self) -> None:
        self.derived_tensors = [self.constant(name).contiguous() for name in ("gain", "shift")]
        self.derived_arguments = [self.constant("eps"), *self.constant("output")]

    def run(self, x: Tensor) -> Any:
        return kernels.group_norm(x, self.constant("num_groups"), *self.derived_tensors, *self.derived_arguments)

    def emit(self, emitter: Emitter, y: Value, x: Value) -> None:
        scratch = emitter.thread_scratch(_kernels.group_norm_scratch_size(x.shape[1]))
        operands = (y.moved_last(1), emitter.channels_last(x).moved_last(1), scratch)
        parameters = [emitter.constant(t) for t in self.derived_tensors]
        constants = (self.constant("num_groups"), *parameters, *self.derived_arguments)
        emitter.call("group_norm", operands, *constants, active_isa())
