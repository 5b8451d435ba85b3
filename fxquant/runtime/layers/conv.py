"""Convolutions, with residual and table in their epilogue."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fxquant import kernels, ops
from fxquant.kernels import ConvGeometry, _kernels
from fxquant.runtime.call import NOTHING, Window
from fxquant.runtime.emitter import Emitter
from fxquant.runtime.layer import computes
from fxquant.runtime.layers.weighted import Weighted
from fxquant.runtime.value import Halo, Value
from fxquant.target import active_isa


@computes(ops.int8_conv2d)
class Int8Conv2d(Weighted):
    """uint8 [N, I, H, W] -> uint8 [N, O, OH, OW], channels last; or float32, contiguous."""

    def derive(self) -> None:
        self._derive_output()
        weight, bias, multiplier = self._tensors()
        geometry = ConvGeometry(
            *(weight.shape[0], weight.shape[2], weight.shape[3]),
            *(*self.constant("stride"), *self.constant("padding"), *self.constant("dilation"), self.constant("groups")),
        )
        depthwise = self._runs_depthwise(weight, geometry)
        pack = kernels.pack_depthwise_conv2d if depthwise else kernels.pack_conv2d
        self.derived_packed = pack(weight, bias, multiplier, geometry=geometry, **self._packing())
        self.derived_geometry = list(geometry)
        self.derived_kernel = kernels.depthwise_conv2d if depthwise else kernels.conv2d
        # Depthwise kernels treat borders on their own; the product may write over the residual, tile by tile.
        self.overwrites = () if depthwise else (1,)
        self.halo = Halo() if depthwise else _halo(geometry)

    def run(self, x: Tensor, residual: Tensor | None = None) -> Any:
        floats = (True,) if self._floats else ()
        return self.derived_kernel(x, self.derived_packed, residual, self.derived_geometry, *floats)

    def emit(self, emitter: Emitter, y: Value, x: Value, residual: Value | None = None) -> None:
        x, residual = emitter.images(x), self._residual(y, residual)
        residual = None if residual is None else emitter.images(residual)
        packed = (emitter.constant(self.derived_packed), self.derived_packed.numel())
        geometry, has_halo = self.derived_geometry, x.halo.covers(self.halo)
        shape = {"rows": (0, y.shape[2]), "packed": packed}
        if self.derived_kernel is kernels.depthwise_conv2d:
            window = self._window() if _kernels.depthwise_in_rows(packed[0]) else None
            emitter.call("depthwise_conv2d", (y, x, residual), active_isa(), window=window, **shape)
            return
        reading = (geometry, has_halo, active_isa())
        needed = _kernels.conv2d_scratch_size(y.native, x.native, *packed, *reading, emitter.threads)
        scratch = emitter.scratch(needed)
        window = self._window() if scratch is None else None
        operands = (y, x, residual, scratch)
        constants = (geometry, has_halo, self._floats, active_isa())
        emitter.call("conv2d", operands, *constants, window=window, ahead=NOTHING, **shape)

    def _window(self) -> Window:
        g = ConvGeometry(*self.derived_geometry)
        return Window((g.kernel_h - 1) * g.dilation_h + 1, g.stride_h, g.pad_top)


def _halo(g: ConvGeometry) -> Halo:
    return Halo(max(g.pad_top, g.pad_bottom), max(g.pad_left, g.pad_right))
