"""Convolutions of floats that become integers at run time, with a scale and a zero point for each example, or for all.

The integers come with a border as wide as the padding, of zero points, so that the convolution itself has none.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from fxquant import kernels, ops
from fxquant.kernels import ConvGeometry, _kernels
from fxquant.kernels.dynamic.images import TERMS, codes_shape
from fxquant.runtime import volumes
from fxquant.runtime.emitter import Emitter
from fxquant.runtime.layer import computes
from fxquant.runtime.layers.conv_phases import InPhases, Ordinary, Part, Transposed
from fxquant.runtime.layers.weighted import check_float32, check_real
from fxquant.runtime.phases import Phase, border
from fxquant.runtime.value import Value
from fxquant.target import active_isa


class DynamicConv(InPhases):
    """What all of them share; they are also an Ordinary or a Transposed."""

    inputs = ("x",)
    takes_integers = False
    kernel = "dynamic_conv2d"

    def derive(self) -> None:
        self.derived_around = [border(along) for along in super()._phases()]
        self.derived_levels = tuple(self.constant("dynamic"))
        super().derive()

    def _phases(self) -> list[list[Phase]]:
        along = zip(super()._phases(), self.derived_around, strict=True)
        return [[phase.within(width) for phase in phases] for phases, width in along]

    def _packed(self, weight: Tensor, bias: Tensor, multiplier: Tensor, geometry: ConvGeometry) -> Tensor:
        output = self.constant("output")
        return kernels.pack_dynamic_conv2d(weight, multiplier, bias, geometry=geometry, output=output)

    def check(self, *inputs: Any) -> None:
        check_real(*inputs)
        super().check(*inputs)

    def crosses_examples(self, *inputs: Tensor) -> bool:
        return not self.constant("dynamic").by_row

    def run(self, x: Tensor, residual: Tensor | None = None) -> Any:
        super().check(x)
        codes, terms = kernels.dynamic_quantize(x, self.derived_around, *self.derived_levels)

        def convolved(part: Part, image: Tensor) -> Any:
            of_slices = terms.repeat_interleave(image.shape[0] // max(len(terms), 1), 0)
            return kernels.dynamic_conv2d(image, of_slices, part.packed, part.geometry)

        return self._filled(self._empty(codes), codes, convolved)

    def emit(self, emitter: Emitter, y: Value, x: Value, residual: Value | None = None) -> None:
        check_float32(x)
        super().check(x.meta())
        codes, terms = self._quantized(emitter, x)
        shape, strides = (y.shape[0], 1, *y.shape[2:]), (TERMS, *[0] * (len(y.shape) - 1))
        self._emit(emitter, y, codes, replace(terms, shape=shape, strides=strides))

    def _quantized(self, emitter: Emitter, x: Value) -> tuple[Value, Value]:
        """The codes of `x` with their border, and the terms of its examples, [N, TERMS]."""
        by_example, *levels = (*self.derived_levels, active_isa())
        terms = emitter.new(torch.empty(x.shape[0], TERMS, dtype=torch.uint8, device="meta"))
        like = volumes.images_like if len(x.shape) == 4 else volumes.like
        codes = emitter.new(like(codes_shape(x.shape, self.derived_around)))
        scratch = emitter.scratch(_kernels.dynamic_terms_scratch(x.shape[0]))
        emitter.call("dynamic_terms", (terms, x, scratch), by_example, *levels)
        inside = codes
        if any(self.derived_around):
            emitter.call("dynamic_zero_points", (codes, terms))
            for dim, (width, size) in enumerate(zip(self.derived_around, x.shape[2:], strict=True), 2):
                inside = inside.narrow(dim, width, size)
        emitter.call("dynamic_codes", (inside, x, terms), *levels)
        return codes, terms


@computes(ops.dynamic_conv2d)
class DynamicConv2d(DynamicConv, Ordinary):
    """float32 [N, I, H, W] -> float32 [N, O, OH, OW], contiguous."""


@computes(ops.dynamic_conv3d)
class DynamicConv3d(DynamicConv, Ordinary):
    """float32 [N, I, D, H, W] -> float32 [N, O, OD, OH, OW], contiguous."""


@computes(ops.dynamic_conv_transpose2d)
class DynamicConvTranspose2d(DynamicConv, Transposed):
    """float32 [N, I, H, W] -> float32 [N, O, OH, OW], contiguous."""


@computes(ops.dynamic_conv_transpose3d)
class DynamicConvTranspose3d(DynamicConv, Transposed):
    """float32 [N, I, D, H, W] -> float32 [N, O, OD, OH, OW], contiguous."""
