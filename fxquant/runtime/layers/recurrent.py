"""Recurrent layers: one of an LSTM, GRU or RNN, in one direction."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fxquant import kernels, ops
from fxquant.kernels import _kernels
from fxquant.kernels.recurrent import dynamic_recurrent_now
from fxquant.runtime.constants import check_scale
from fxquant.runtime.emitter import Emitter
from fxquant.runtime.layer import Layer, computes
from fxquant.runtime.value import Value
from fxquant.runtime.watched import plain
from fxquant.target import active_isa


@computes(ops.int8_recurrent_states)
class Int8RecurrentStates(Layer):
    """uint8 [T, B, I] -> uint8 [T, B, H] and the last cell state, float32 [B, H]."""

    inputs = ("x", "h0", "c0")
    reals = ("c0",)
    plannable = False

    def derive(self) -> None:
        output, scale = self.constant("output"), self.constant("h_scale")
        check_scale("h_scale", scale)
        weights = self._weights()
        zero_points = {"x_zero_point": self.constant("x_zero_point"), "h_zero_point": output.zero_point}
        self.derived_packed = kernels.pack_recurrent(self.constant("kind"), *weights, **zero_points)
        self.derived_sizes = (weights[0].shape[1], weights[1].shape[1])
        self.derived_settings = (self.constant("reverse"), scale, *output)
        self.derived_emitted = (*self.derived_settings, False)

    def _weights(self) -> list[Tensor]:
        weights, multipliers = (
            [self.constant(f"{name}_{s}") for s in ("ih", "hh")] for name in ("weight", "multiplier")
        )
        return [*weights, *self.biases(), *multipliers]

    def biases(self) -> list[Tensor]:
        """Of the products of inputs, if there are any here, and of states; zeros for one that it does not have."""
        names = ("bias_ih", "bias_hh") if self.constant("weight_ih") is not None else ("bias_hh",)
        zeros = torch.zeros(len(self.constant("weight_hh")))
        return [zeros if self.constant(name) is None else self.constant(name) for name in names]

    def crosses_examples(self, *inputs: Tensor) -> bool:
        return True  # dimension 0 is time

    def multiply_adds(self, y: Any, *inputs: Tensor) -> int:
        weights: list[Tensor] = [self.constant(name) for name in ("weight_ih", "weight_hh")]
        return inputs[0].shape[:2].numel() * sum(weight.numel() for weight in weights)

    def run(self, x: Tensor, h0: Tensor | None = None, c0: Tensor | None = None) -> Any:
        kernels.check_recurrent(x, h0, c0, *self.derived_sizes)
        return kernels.recurrent(x, self.derived_packed, h0, c0, self.derived_sizes[1], *self.derived_settings)


@computes(ops.int8_recurrent)
class Int8Recurrent(Int8RecurrentStates):
    """uint8 [T, B, I] -> uint8 [T, B, H]."""

    plannable = True
    any_strides = False

    def run(self, x: Tensor, h0: Tensor | None = None, c0: Tensor | None = None) -> Any:
        return super().run(x, h0, c0)[0]

    def emit(self, emitter: Emitter, y: Value, x: Value, h0: Value | None = None, c0: Value | None = None) -> None:
        if y.shape[1] == 0:
            return
        isa = active_isa()
        packed = (emitter.constant(self.derived_packed), self.derived_packed.numel())
        blocks, size = _kernels.recurrent_blocks(*packed, *y.shape[:2], emitter.threads, isa)
        inputs = [value if value is None else emitter.dense_rows(value) for value in (x, h0, c0)]
        operands = (y, *inputs, None, emitter.scratch(size))
        emitter.call("recurrent", operands, *packed, blocks, *self.derived_emitted, isa)


@computes(ops.dynamic_recurrent_states)
class DynamicRecurrentStates(Int8RecurrentStates):
    """float32 [T, B, I] -> float32 [T, B, H] and the last cell state, float32 [B, H]."""

    takes_integers = gives_integers = False

    def derive(self) -> None:
        weights, dynamic = self._weights(), self.constant("dynamic")
        self.derived_packed = kernels.pack_recurrent(self.constant("kind"), *weights, dynamic=True)
        self.derived_sizes = (weights[0].shape[1], weights[1].shape[1])
        self.derived_settings = (self.constant("reverse"), dynamic.quant_min, dynamic.quant_max)
        self.derived_emitted = (self.constant("reverse"), 1.0, 0, dynamic.quant_min, dynamic.quant_max, True)

    def run(self, x: Tensor, h0: Tensor | None = None, c0: Tensor | None = None) -> Any:
        return _states(self, x, h0, c0)


@computes(ops.dynamic_recurrent)
class DynamicRecurrent(Int8Recurrent, DynamicRecurrentStates):
    """float32 [T, B, I] -> float32 [T, B, H]."""


@computes(ops.dynamic_recurrence_states)
class DynamicRecurrenceStates(Int8RecurrentStates):
    """float32 [T, B, G * H], the products of inputs -> float32 [T, B, H] and the last cell state, float32 [B, H]."""

    inputs = ("a", "h0", "c0")
    takes_integers = gives_integers = False

    def derive(self) -> None:
        weight, low = self.constant("weight_hh"), self.constant("low_hh")
        multiplier, dynamic, (bias,) = self.constant("multiplier_hh"), self.constant("dynamic"), self.biases()
        none = weight.new_empty(len(weight), 0)
        self.derived_packed = kernels.pack_recurrent(
            *(self.constant("kind"), none, weight, bias, bias, multiplier, multiplier), low_hh=low, dynamic=True
        )
        self.derived_sizes = (weight.shape[0], weight.shape[1])
        self.derived_settings = (self.constant("reverse"), dynamic.quant_min, dynamic.quant_max)

    def multiply_adds(self, y: Any, *inputs: Tensor) -> int:
        weights: list[Tensor] = [self.constant(name) for name in ("weight_hh", "low_hh")]
        return inputs[0].shape[:2].numel() * sum(weight.numel() for weight in weights)

    def run(self, a: Tensor, h0: Tensor | None = None, c0: Tensor | None = None) -> Any:
        return _states(self, a, h0, c0)


def _states(layer: Int8RecurrentStates, x: Tensor, h0: Tensor | None, c0: Tensor | None) -> Any:
    kernels.check_recurrent(x, h0, c0, *layer.derived_sizes, torch.float32)
    call = dynamic_recurrent_now if plain(x, h0, c0) else kernels.dynamic_recurrent
    return call(x, layer.derived_packed, h0, c0, layer.derived_sizes[1], *layer.derived_settings)
