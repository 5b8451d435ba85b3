"""Linear layers: of integers, with residual and table in their epilogue, and of floats that become integers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor

from fxquant import kernels, ops
from fxquant.errors import InputError
from fxquant.kernels import _kernels
from fxquant.kernels.weight_only import halves_scratch
from fxquant.ops.integer.floats import ACTIVATIONS
from fxquant.qparams import FloatOutput
from fxquant.runtime.call import NOTHING
from fxquant.runtime.emitter import Emitter
from fxquant.runtime.layer import Layer, computes
from fxquant.runtime.layers.weighted import Weighted, check_float32, check_real
from fxquant.runtime.value import Value
from fxquant.target import active_isa


@computes(ops.int8_linear)
class Int8Linear(Weighted):
    """uint8 [..., K] -> uint8 or float32 [..., N]."""

    def derive(self) -> None:
        self._derive_output()
        self.derived_packed = kernels.pack_linear(*self._tensors(), **self._packing())
        self.derived_features = self.constant("weight").shape[0]

    def run(self, x: Tensor, residual: Tensor | None = None) -> Any:
        return kernels.linear(x, self.derived_packed, residual, self.derived_features, self._floats)

    overwrites = (1,)
    any_strides = False

    def emit(self, emitter: Emitter, y: Value, x: Value, residual: Value | None = None) -> None:
        residual = self._residual(y, residual)
        operands = (emitter.rows(y), emitter.rows(x), None if residual is None else emitter.rows(residual))
        packed = (emitter.constant(self.derived_packed), self.derived_packed.numel())
        emitter.call("linear", operands, self._floats, active_isa(), packed=packed, ahead=NOTHING)


@computes(ops.dynamic_linear)
class DynamicLinear(Layer):
    """float32 [..., K] -> float32 [..., N]; between them integers, whose qparams are found at run time.

    An activation and a residual follow the product row by row, so that they join the steps behind it (rows.py).
    """

    inputs = ("x", "residual")
    takes_integers = gives_integers = False
    any_strides = False

    def derive(self) -> None:
        if self.constant("activation") not in (None, *ACTIVATIONS):
            raise InputError(f"the activation of a layer cannot be {self.constant('activation')!r}")
        weight, multiplier, bias = (self.constant(name) for name in ("weight", "multiplier", "bias"))
        output, self.derived_integer_bias = self.constant("output"), None
        if self.constant("integer_bias"):
            self.derived_integer_bias = kernels.pack_integer_bias(bias, multiplier, output)
            bias, output = torch.zeros(len(weight)), FloatOutput()
        self.derived_packed = kernels.pack_dynamic_linear(weight, multiplier, bias, output)
        self.derived_features = weight.shape[0]
        self.derived_arguments = tuple(self.constant("dynamic"))
        self.derived_function = f"float_{self.constant('activation')}" if self.constant("activation") else None

    def check(self, *inputs: Any) -> None:
        for x in inputs:
            check_real(x)

    def run(self, x: Tensor, residual: Tensor | None = None) -> Any:
        arguments = (*self.derived_arguments, self.derived_integer_bias)
        y = kernels.dynamic_linear(x, self.derived_packed, self.derived_features, *arguments)
        if self.derived_function is not None:
            y = getattr(kernels, self.derived_function)(y)
        return y if residual is None else kernels.float_add(y, residual)

    def emit(self, emitter: Emitter, y: Value, x: Value, residual: Value | None = None) -> None:
        shape = (*x.shape[:-1], self.derived_features)
        product = y if shape == y.shape else emitter.new(torch.empty(shape, device="meta"))
        self._emit_product(emitter, product, x)
        if self.derived_function is not None:
            rows = emitter.rows(product)
            emitter.call(self.derived_function, (rows, rows), active_isa())
        if residual is not None:
            check_float32(residual)
            terms = (v.viewed(lambda t: t.expand(y.shape)) for v in (product, residual))
            emitter.call("float_add", (y, *terms), active_isa())

    def _emit_product(self, emitter: Emitter, y: Value, x: Value) -> None:
        check_float32(x)
        y, rows = emitter.rows(y), emitter.rows(x)
        packed = (emitter.constant(self.derived_packed), self.derived_packed.numel())
        by_row, *levels = self.derived_arguments
        integer_bias = 0 if self.derived_integer_bias is None else emitter.constant(self.derived_integer_bias)
        if by_row:
            codes = emitter.derived("dynamic_rows", rows, _kernels.dynamic_scratch(*rows.shape), *levels, active_isa())
            settings = (rows.shape[1], integer_bias, active_isa())
            emitter.call("dynamic_product", (y, codes), *settings, packed=packed, ahead=NOTHING)
            return
        scratch = emitter.scratch(_kernels.dynamic_scratch(*rows.shape))
        settings = (*self.derived_arguments, integer_bias, active_isa())
        emitter.call("dynamic_linear", (y, rows, scratch), *settings, packed=packed, ahead=NOTHING)

    def crosses_examples(self, *inputs: Tensor) -> bool:
        return not self.constant("dynamic").by_row or len({x.dim() for x in inputs}) > 1


@computes(ops.weight_only_linear)
class WeightOnlyLinear(Layer):
    """float32 or bfloat16 [..., K] -> the same [..., N], of weights that are integers or float16."""

    takes_integers = gives_integers = False
    takes_halves = True
    also: ClassVar[Mapping[str, torch.dtype]] = MappingProxyType({"weight": torch.float16})
    any_strides = False

    def derive(self) -> None:
        weight, scale, bias = (self.constant(name) for name in ("weight", "scale", "bias"))
        bias = torch.zeros(len(weight)) if bias is None else bias
        self.derived_packed = kernels.pack_weight_only(weight, scale, bias, self.constant("output"))
        self.derived_features = weight.shape[0]

    def check(self, *inputs: Any) -> None:
        check_real(*inputs)

    def run(self, x: Tensor) -> Any:
        return kernels.weight_only_linear(x, self.derived_packed, self.derived_features)

    def emit(self, emitter: Emitter, y: Value, x: Value) -> None:
        packed = (emitter.constant(self.derived_packed), self.derived_packed.numel(), active_isa())
        y, rows = emitter.rows(y), emitter.rows(x)
        if x.dtype is torch.bfloat16:
            size = halves_scratch(emitter.threads, rows.shape[0], rows.shape[1], y.shape[1], packed)
            emitter.call("weight_only_halves", (y, rows, emitter.scratch(size)), *packed)
            return
        check_float32(x)
        emitter.call("weight_only_linear", (y, rows), *packed)


@computes(ops.int8_linear_grouped)
class Int8LinearGrouped(Layer):
    """uint8 [..., K] -> uint8 [..., N], with a scale for each output and group of inputs."""

    any_strides = False

    def derive(self) -> None:
        self.derived_packed = kernels.pack_grouped(self.constant("weight"), self.constant("scale"))
        self.derived_shift = self.constant("shift").contiguous()
        if self.derived_shift.shape != self.constant("weight").shape[:1]:
            raise InputError(f"a shift of shape {list(self.derived_shift.shape)} is not that of the outputs")
        self.derived_arguments = [self.constant("multiplier"), self.constant("x_zero_point"), *self.constant("output")]

    def run(self, x: Tensor) -> Any:
        return kernels.grouped_linear(x, self.derived_packed, self.derived_shift, *self.derived_arguments)

    def emit(self, emitter: Emitter, y: Value, x: Value) -> None:
        packed = (emitter.constant(self.derived_packed), self.derived_packed.numel())
        operands, shift = (emitter.rows(y), emitter.rows(x)), emitter.constant(self.derived_shift)
        emitter.call("grouped_linear", operands, shift, *self.derived_arguments, active_isa(), packed=packed)


@computes(ops.dynamic_linear_grouped)
class DynamicLinearGrouped(Layer):
    """float32 [..., K] -> float32 [..., N]; between them integers, of weights with a scale for each group of inputs."""

    takes_integers = gives_integers = False
    any_strides = False

    def derive(self) -> None:
        self.derived_packed = kernels.pack_grouped(self.constant("weight"), self.constant("scale"))
        self.derived_bias = self.constant("bias").contiguous()
        if self.derived_bias.shape != self.constant("weight").shape[:1]:
            raise InputError(f"a bias of shape {list(self.derived_bias.shape)} is not that of the outputs")
        self.derived_levels = tuple(self.constant("dynamic"))[1:]
        self.derived_bounds = tuple(self.constant("output"))

    def check(self, *inputs: Any) -> None:
        check_real(*inputs)

    def run(self, x: Tensor) -> Any:
        settings = (*self.derived_levels, *self.derived_bounds)
        return kernels.dynamic_grouped_linear(x, self.derived_packed, self.derived_bias, *settings)

    def emit(self, emitter: Emitter, y: Value, x: Value) -> None:
        check_float32(x)
        y, rows = emitter.rows(y), emitter.rows(x)
        size = _kernels.dynamic_scratch(*rows.shape)
        codes = emitter.derived("dynamic_rows", rows, size, *self.derived_levels, active_isa())
        packed = (emitter.constant(self.derived_packed), self.derived_packed.numel())
        settings = (emitter.constant(self.derived_bias), rows.shape[1], *self.derived_bounds, active_isa())
        emitter.call("dynamic_grouped", (y, codes), *settings, packed=packed)
