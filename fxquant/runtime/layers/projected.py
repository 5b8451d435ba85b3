"""The layer of an LSTM with projections, in one direction: three kernels of linear layers, step by step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fxquant import kernels, ops
from fxquant.errors import InputError
from fxquant.ops.integer.projected import all_steps, initial
from fxquant.qparams import FloatOutput
from fxquant.runtime.layer import Layer, computes


@computes(ops.dynamic_projected_states)
class DynamicProjectedStates(Layer):
    """float32 [T, B, I] -> float32 [T, B, P] and the last cell state, float32 [B, H]."""

    inputs = ("x", "h0", "c0")
    reals = ("c0",)
    takes_integers = gives_integers = False
    plannable = False

    def derive(self) -> None:
        biases = {"ih": self.constant("bias_ih")}
        self.derived_packed = {name: self._packed(name, biases.get(name)) for name in ("ih", "hh", "hr")}
        if self.constant("weight_ih").shape[0] != 4 * self.constant("weight_hr").shape[1]:
            raise InputError("weight_ih must have four rows for each column of weight_hr")
        if self.constant("weight_hh").shape != (len(self.constant("weight_ih")), len(self.constant("weight_hr"))):
            raise InputError("weight_hh must have the rows of weight_ih, and a column for each row of weight_hr")

    def _packed(self, name: str, bias: Tensor | None) -> tuple[Tensor, int]:
        weight = self.constant(f"weight_{name}")
        bias = torch.zeros(len(weight)) if bias is None else bias
        packed = kernels.pack_dynamic_linear(weight, self.constant(f"multiplier_{name}"), bias, FloatOutput())
        return packed, len(weight)

    def multiply_adds(self, y: Any, *inputs: Tensor) -> int:
        weights: list[Tensor] = [self.constant(f"weight_{name}") for name in self.derived_packed]
        return inputs[0].shape[:2].numel() * sum(weight.numel() for weight in weights)

    def crosses_examples(self, *inputs: Tensor) -> bool:
        return True  # dimension 0 is time

    def check(self, *inputs: Any) -> None:
        outputs, cells = self.constant("weight_hr").shape
        sizes = (["steps", "batch", self.constant("weight_ih").shape[1]], ["batch", outputs], ["batch", cells])
        for x, size in zip(inputs, sizes, strict=False):
            if x is not None and (x.dtype is not torch.float32 or x.dim() != len(size) or x.shape[-1] != size[-1]):
                wanted = ", ".join(map(str, size))
                raise InputError(f"expected float32 [{wanted}], got {x.dtype} {list(x.shape)}")
        if len(inputs[0]) == 0:
            raise InputError("a sequence has one step at least")

    def run(self, x: Tensor, h0: Tensor | None = None, c0: Tensor | None = None) -> Any:
        by_row, *levels = self.constant("dynamic")

        def product(name: str) -> Any:
            packed, features = self.derived_packed[name]
            return lambda x: kernels.dynamic_linear(x, packed, features, by_row, *levels)

        states = initial(x, self.constant("weight_hr"), h0, c0)
        return all_steps(x, product("ih"), product("hh"), product("hr"), self.constant("reverse"), *states)
