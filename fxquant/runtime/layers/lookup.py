"""Any function of one number, as a table."""

from __future__ import annotations

from fxquant import kernels, ops
from fxquant.runtime.call import Window
from fxquant.runtime.emitter import Emitter
from fxquant.runtime.layer import computes
from fxquant.runtime.layers.plain import Plain
from fxquant.runtime.value import Value
from fxquant.target import active_isa


@computes(ops.lookup)
class Lookup(Plain):
    """table[x] for every element of a uint8 tensor; one table, or one a channel."""

    names = ("table",)
    kernel = staticmethod(kernels.lookup)
    overwrites = (0,)

    def emit(self, emitter: Emitter, y: Value, x: Value) -> None:
        table = self.constant("table").contiguous()
        kernel = "lookup" if table.dim() == 1 else "lookup_per_channel"
        emitter.call(kernel, (y, x), emitter.constant(table), active_isa(), window=Window())
