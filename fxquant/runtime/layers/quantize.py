"""The boundary between real numbers and integers."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fxquant import kernels, ops
from fxquant.runtime.call import Window
from fxquant.runtime.emitter import Emitter
from fxquant.runtime.layer import Layer, computes
from fxquant.runtime.layers.weighted import check_float32, check_real
from fxquant.runtime.value import Value
from fxquant.target import active_isa


@computes(ops.quantize)
class Quantize(Layer):
    """float32 -> uint8; images become channels last."""

    takes_integers = False

    def derive(self) -> None:
        q = self.constant("q")
        self.derived_arguments = (q.scale, q.zero_point, q.quant_min, q.quant_max)

    def check(self, *inputs: Any) -> None:
        """Of what the user passed, where it may be the model's input."""
        check_real(*inputs)

    def run(self, x: Tensor) -> Any:
        return kernels.quantize(x, *self.derived_arguments)

    def emit(self, emitter: Emitter, y: Value, x: Value) -> None:
        check_float32(x)
        emitter.call("quantize", (y, x), *self.derived_arguments, active_isa(), window=Window())


@computes(ops.dequantize)
class Dequantize(Layer):
    """uint8 -> float32; images become contiguous."""

    gives_integers = False

    def derive(self) -> None:
        q = self.constant("q")
        self.derived_arguments = (q.scale, q.zero_point)

    def run(self, x: Tensor) -> Any:
        return kernels.dequantize(x, *self.derived_arguments)

    def emit(self, emitter: Emitter, y: Value, x: Value) -> None:
        emitter.call("dequantize", (y, x), *self.derived_arguments, active_isa())
