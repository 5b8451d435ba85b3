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
    any_strides = False

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
        """Of the products of inputs and of states; zeros for one that it does not have."""
        zeros = torch.zeros(len(self.constant("weight_hh")))
        return [zeros if self.constant(name) is None else self.constant(name) for name in ("bias_ih", "bias_hh")]

    def crosses_examples(self, *inputs: Tensor) -> bool:
        return True  # dimension 0 is time

    def multiply_adds(self, y: Any, *inputs: Tensor) -> int:
        weights: list[Tensor] = [self.constant(name) for name in ("weight_ih", "weight_hh")]
        return inputs[0].shape[:2].numel() * sum(weight.numel() for weight in weights)

    def run(self, x: Tensor, h0: Tensor | None = None, c0: Tensor | None = None) -> Any:
        kernels.check_recurrent(x, h0, c0, *self.derived_sizes)
        return kernels.recurrent(x, self.derived_packed, h0, c0, self.derived_sizes[1], *self.derived_settings)

    def emit(self, emitter: Emitter, y: Any, x: Value, h0: Value | None = None, c0: Value | None = None) -> None:
        self._emit_steps(emitter, *y, x, h0, c0)

    def _emit_steps(self, emitter: Emitter, y: Value, last: Value | None, *inputs: Value | None) -> None:
        """`last`: where the last cell state goes, if anything reads it."""
        if y.shape[1] == 0:
            return
        isa = active_isa()
        packed = (emitter.constant(self.derived_packed), self.derived_packed.numel())
        blocks, size = _kernels.recurrent_blocks(*packed, *y.shape[:2], emitter.threads, isa)
        dense = [value if value is None else emitter.dense_rows(value) for value in inputs]
        operands = (y, *dense, last, emitter.scratch(size))
        emitter.call("recurrent", operands, *packed, blocks, *self.derived_emitted, isa)


@computes(ops.int8_recurrent)
class Int8Recurrent(Int8RecurrentStates):
    """uint8 [T, B, I] -> uint8 [T, B, H]."""

    def run(self, x: Tensor, h0: Tensor | None = None, c0: Tensor | None = None) -> Any:
        return super().run(x, h0, c0)[0]

    def emit(self, emitter: Emitter, y: Value, x: Value, h0: Value | None = None, c0: Value | None = None) -> None:
        self._emit_steps(emitter, y, None, x, h0, c0)


@computes(ops.dynamic_recurrent_states)
class DynamicRecurrentStates(Int8RecurrentStates):
    """float32 [T, B, I] -> float32 [T, B, H] and the last cell state, float32 [B, H]."""

    takes_integers = gives_integers = False

    def derive(self) -> None:
        weights = self._weights()
        self.derived_packed = kernels.pack_recurrent(self.constant("kind"), *weights, low=self._low(), dynamic=True)
        self.derived_sizes = (weights[0].shape[1], weights[1].shape[1])
        dynamic, reverse = self.constant("dynamic"), self.constant("reverse")
        self.derived_settings = (reverse, dynamic.quant_min, dynamic.quant_max)
        self.derived_emitted = (reverse, 1.0, 0, dynamic.quant_min, dynamic.quant_max, True)

    def _low(self) -> tuple[Tensor, Tensor] | None:
        return None

    def _scaled(self, x: Tensor) -> Tensor:
        """What its products read of `x`."""
        return x

    def run(self, x: Tensor, h0: Tensor | None = None, c0: Tensor | None = None) -> Any:
        kernels.check_recurrent(x, h0, c0, *self.derived_sizes, torch.float32)
        call = dynamic_recurrent_now if plain(x, h0, c0) else kernels.dynamic_recurrent
        return call(self._scaled(x), self.derived_packed, h0, c0, self.derived_sizes[1], *self.derived_settings)


@computes(ops.dynamic_recurrent)
class DynamicRecurrent(Int8Recurrent, DynamicRecurrentStates):
    """float32 [T, B, I] -> float32 [T, B, H]."""


@computes(ops.dynamic_two_byte_recurrent_states)
class DynamicTwoByteRecurrentStates(DynamicRecurrentStates):
    """The same with inputs, and weights of the candidate gate, of two bytes."""

    def _low(self) -> tuple[Tensor, Tensor] | None:
        return self.constant("low_ih"), self.constant("low_hh")

    def _scaled(self, x: Tensor) -> Tensor:
        scaled: Tensor = x * self.constant("columns").to(x.device)
        return scaled

    def multiply_adds(self, y: Any, *inputs: Tensor) -> int:
        low_ih, low_hh = self.constant("low_ih"), self.constant("low_hh")
        more: int = 2 * low_ih.numel() + low_hh.numel()  # those of rests are as many as those of low bytes
        return super().multiply_adds(y, *inputs) + inputs[0].shape[:2].numel() * more

    def emit(self, emitter: Emitter, y: Any, x: Value, h0: Value | None = None, c0: Value | None = None) -> None:
        scaled = emitter.new(torch.empty(x.shape, device="meta"))
        columns = emitter.tensor(self.constant("columns")).viewed(lambda t: t.expand(x.shape))
        emitter.call("float_mul", (scaled, x, columns), active_isa())
        super().emit(emitter, y, scaled, h0, c0)
