"""Layers of floats, which stand between dynamic ones."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fxquant import kernels, ops
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


@computes(ops.float_add)
class FloatAdd(Floats):
    """float32 + float32, broadcast."""

    inputs = ("a", "b")
    overwrites = (0, 1)

    def derive(self) -> None:
        pass

    def run(self, a: Tensor, b: Tensor) -> Any:
        return kernels.float_add(a, b)

    def emit(self, emitter: Emitter, y: Value, a: Value, b: Value) -> None:
        check_float32(a, b)
        emitter.call("float_add", (y, *(x.viewed(lambda t: t.expand(y.shape)) for x in (a, b))), active_isa())

    def crosses_examples(self, *inputs: Tensor) -> bool:
        return inputs[0].dim() != inputs[1].dim()


@computes(ops.float_gelu)
class FloatGelu(Floats):
    """float32 of any shape."""

    overwrites = (0,)

    def derive(self) -> None:
        pass

    def run(self, x: Tensor) -> Any:
        return kernels.float_gelu(x)

    def emit(self, emitter: Emitter, y: Value, x: Value) -> None:
        check_float32(x)
        emitter.call("float_gelu", (emitter.rows(y), emitter.rows(x)), active_isa())


@computes(ops.float_layer_norm)
class FloatLayerNorm(Floats):
    """float32 [..., *gain.shape]."""

    overwrites = (0,)

    def derive(self) -> None:
        self.derived_parameters = [self.constant(name).contiguous() for name in ("gain", "shift")]
        self.derived_eps = self.constant("eps")

    def run(self, x: Tensor) -> Any:
        return kernels.float_layer_norm(x, *self.derived_parameters, self.derived_eps)

    def emit(self, emitter: Emitter, y: Value, x: Value) -> None:
        check_float32(x)
        dims = self.derived_parameters[0].dim()
        parameters = [emitter.constant(t) for t in self.derived_parameters]
        rows = (emitter.rows(y, dims), emitter.rows(x, dims))
        emitter.call("float_layer_norm", rows, *parameters, self.derived_eps, active_isa())

    def crosses_examples(self, *inputs: Tensor) -> bool:
        return bool(inputs[0].dim() == self.constant("gain").dim())


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
