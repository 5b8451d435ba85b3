"""Borders of one number."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from fxquant import ops
from fxquant.runtime.emitter import Emitter
from fxquant.runtime.layer import Layer, computes
from fxquant.runtime.value import Value


@computes(ops.int8_pad)
class Int8Pad(Layer):
    """uint8 of any shape, larger by a border of one number."""

    def derive(self) -> None:
        self.derived_arguments = (self.constant("pad"), "constant", self.constant("value_code"))

    def run(self, x: Tensor) -> Any:
        return F.pad(x, *self.derived_arguments)

    def emit(self, emitter: Emitter, y: Value, x: Value) -> None:
        amounts, _, code = self.derived_arguments
        inner = y
        for i, (before, after) in enumerate(zip(amounts[::2], amounts[1::2], strict=True)):
            dim = len(x.shape) - 1 - i
            kept = x.shape[dim] + min(before, 0) + min(after, 0)
            x = x.narrow(dim, max(-before, 0), kept)
            inner = inner.narrow(dim, max(before, 0), kept)
        emitter.call("fill", (y,), code)
        emitter.call("copy", (inner, x))
