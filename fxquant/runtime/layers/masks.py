"""Layers that make boolean masks, for attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fxquant import ops
from fxquant.errors import InputError
from fxquant.ops.integer.masks import MASKABLE
from fxquant.runtime.emitter import Emitter
from fxquant.runtime.layer import Layer, computes
from fxquant.runtime.value import Value


class Masks(Layer):
    """A layer that gives bool."""

    takes_integers = gives_integers = False
    ahead = True

    def derive(self) -> None:
        pass


@computes(ops.mask_nonzero)
class MaskNonzero(Masks):
    """Numbers of any shape -> bool: where they are not 0."""

    reals = ("x",)

    def check(self, *inputs: Any) -> None:
        if not isinstance(inputs[0], Tensor) or inputs[0].dtype not in MASKABLE:
            raise InputError("a mask is made of a tensor of bool, integers, float32 or float64")

    def run(self, x: Tensor) -> Any:
        return x.ne(0)

    def emit(self, emitter: Emitter, y: Value, x: Value) -> None:
        self.check(x.meta())
        emitter.call("mask_nonzero", (y, x), x.dtype.itemsize, x.dtype.is_floating_point)


@computes(ops.mask_and)
class MaskAnd(Masks):
    """bool and bool, broadcast."""

    inputs = reals = ("a", "b")

    def run(self, a: Tensor, b: Tensor) -> Any:
        return a & b

    def hands_on(self, *inputs: Tensor) -> int | None:
        known = [x.device.type != "meta" and bool(x.all()) for x in inputs]
        return 1 if known[0] else 0 if known[1] else None

    def emit(self, emitter: Emitter, y: Value, a: Value, b: Value) -> None:
        a, b = (x.viewed(lambda t: t.expand(y.shape)) for x in (a, b))
        no = emitter.number(0, torch.bool).viewed(lambda t: t.expand(y.shape))
        emitter.call("select", (y, a, b, no))

    def crosses_examples(self, *inputs: Tensor) -> bool:
        return inputs[0].dim() != inputs[1].dim()
