"""Layers of floats, which stand between dynamic ones."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from fxquant import kernels, ops
from fxquant.errors import InputError
from fxquant.kernels import _kernels
from fxquant.runtime.emitter import Emitter
from fxquant.runtime.layer import Layer, computes
from fxquant.runtime.layers.matmul import masked
from fxquant.runtime.layers.weighted import check_float32, check_real
from fxquant.runtime.value import Value
from fxquant.runtime.work import attention_multiply_adds
from fxquant.target import active_isa


class Floats(Layer):
    """A layer that computes in float32 throughout."""

    takes_integers = gives_integers = False
    any_strides = False

    def check(self, *inputs: Any) -> None:
        for x in inputs:
            check_real(x)


class ByKernel(Floats):
    """A layer without constants, which is what `kernel` computes."""

    kernel: ClassVar[str]

    def derive(self) -> None:
        pass

    def run(self, *inputs: Tensor) -> Any:
        return getattr(kernels, self.kernel)(*inputs)


class FloatPair(ByKernel):
    """float32 and float32, broadcast."""

    inputs = ("a", "b")
    overwrites = (0, 1)

    def emit(self, emitter: Emitter, y: Value, a: Value, b: Value) -> None:
        check_float32(a, b)
        emitter.call(self.kernel, (y, *(x.viewed(lambda t: t.expand(y.shape)) for x in (a, b))), active_isa())

    def crosses_examples(self, *inputs: Tensor) -> bool:
        return inputs[0].dim() != inputs[1].dim()


@computes(ops.float_add)
class FloatAdd(FloatPair):
    """The sum."""

    kernel = "float_add"


@computes(ops.float_mul)
class FloatMul(FloatPair):
    """The product."""

    kernel = "float_mul"


@computes(ops.float_embedding)
class FloatEmbedding(Floats):
    """int64 indices [...] -> float32 [..., E]."""

    inputs = ("indices",)
    reals = ("indices",)

    def derive(self) -> None:
        self.derived_table = self.constant("vectors").contiguous()
        if self.derived_table.dim() != 2:
            raise InputError(f"an embedding has a matrix, not a tensor of {list(self.derived_table.shape)}")

    def check(self, *inputs: Any) -> None:
        if not isinstance(inputs[0], Tensor) or inputs[0].dtype not in (torch.int64, torch.int32):
            raise InputError("an embedding takes a tensor of indices in int64 or int32")

    def run(self, indices: Tensor) -> Any:
        return F.embedding(indices, self.derived_table)

    def emit(self, emitter: Emitter, y: Value, indices: Value) -> None:
        if indices.dtype is torch.int32:
            indices = self._widened(emitter, indices)
        rows = indices.viewed(lambda t: t.reshape(-1, 1))
        if rows is None or not rows.meta().is_contiguous():
            rows = emitter.copied(indices, torch.contiguous_format).viewed(lambda t: t.reshape(-1, 1))
        table = (emitter.constant(self.derived_table), len(self.derived_table))
        emitter.call("float_embedding", (emitter.rows(y), rows), *table)

    def _widened(self, emitter: Emitter, indices: Value) -> Value:
        """In int64, which begins with the lower half. A negative index becomes one that no table has."""
        wide = emitter.new(torch.empty(indices.shape, dtype=torch.int64, device="meta"))
        emitter.call("fill", (wide.as_bytes(),), 0)
        emitter.call("copy", (wide.as_bytes().narrow(len(indices.shape), 0, 4), indices.as_bytes()))
        return wide


class FloatFunction(ByKernel):
    """float32 of any shape, each number by itself."""

    overwrites = (0,)

    def emit(self, emitter: Emitter, y: Value, x: Value) -> None:
        check_float32(x)
        emitter.call(self.kernel, (emitter.rows(y), emitter.rows(x)), active_isa())


@computes(ops.float_gelu)
class FloatGelu(FloatFunction):
    """gelu, the exact one."""

    kernel = "float_gelu"


@computes(ops.float_gelu_tanh)
class FloatGeluTanh(FloatFunction):
    """gelu, approximated by a tanh."""

    kernel = "float_gelu_tanh"


@computes(ops.float_silu)
class FloatSilu(FloatFunction):
    """silu."""

    kernel = "float_silu"


class FloatNorm(Floats):
    """float32 [..., *gain.shape], by `kernel` with the constants `weights`."""

    overwrites = (0,)
    kernel: ClassVar[str]
    weights: ClassVar[tuple[str, ...]]

    def derive(self) -> None:
        self.derived_parameters = [self.constant(name).contiguous() for name in self.weights]
        self.derived_eps = self.constant("eps")

    def run(self, x: Tensor) -> Any:
        return getattr(kernels, self.kernel)(x, *self.derived_parameters, self.derived_eps)

    def emit(self, emitter: Emitter, y: Value, x: Value) -> None:
        check_float32(x)
        dims = self.derived_parameters[0].dim()
        gain, shift = [*map(emitter.constant, self.derived_parameters), 0][:2]
        rows = (emitter.rows(y, dims), emitter.rows(x, dims))
        emitter.call(self.kernel, rows, gain, shift, self.derived_eps, active_isa())

    def crosses_examples(self, *inputs: Tensor) -> bool:
        return bool(inputs[0].dim() == self.constant("gain").dim())


@computes(ops.float_layer_norm)
class FloatLayerNorm(FloatNorm):
    """layer_norm."""

    kernel, weights = "float_layer_norm", ("gain", "shift")


@computes(ops.float_rms_norm)
class FloatRmsNorm(FloatNorm):
    """rms_norm."""

    kernel, weights = "float_rms_norm", ("gain",)


class AttentionOfFloats(Floats):
    """float32 [..., L, D], [..., S, D], [..., S, E] -> [..., L, E] by `kernel`; the mask is float32 or bool."""

    inputs = ("query", "key", "value", "mask")
    kernel: str

    def derive(self) -> None:
        self.derived_arguments = (bool(self.constant("causal")), self.constant("scale"))

    def run(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Any:
        return getattr(kernels, self.kernel)(query, key, value, mask, *self.derived_arguments)

    def emit(
        self, emitter: Emitter, y: Value, query: Value, key: Value, value: Value, mask: Value | None = None
    ) -> None:
        check_float32(query, key, value)
        mask, bools = masked(mask, (*y.shape[:-1], key.shape[-2]))
        operands = (y, emitter.dense_rows(query), key, value)
        size = getattr(_kernels, f"{self.kernel}_scratch_size")(*(x.native for x in operands), active_isa())
        scratch = emitter.thread_scratch(size)
        emitter.call(self.kernel, (*operands, mask, scratch), bools, *self.derived_arguments, active_isa())

    def multiply_adds(self, y: Tensor, *inputs: Tensor) -> int:
        return attention_multiply_adds(y, *inputs)

    def crosses_examples(self, *inputs: Tensor) -> bool:
        return inputs[0].dim() == 2


@computes(ops.float_attention)
class FloatAttention(AttentionOfFloats):
    """softmax(scale * query @ key^T + mask) @ value in float32."""

    kernel = "float_attention"


@computes(ops.dynamic_attention)
class DynamicAttention(AttentionOfFloats):
    """The same; both products are of integers that are made at run time."""

    kernel = "dynamic_attention"
