"""Products of two activations: matmul and attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fxquant import kernels, ops
from fxquant.kernels import _kernels
from fxquant.kernels.matmul import check_mask
from fxquant.runtime.emitter import Emitter
from fxquant.runtime.layer import Layer, computes
from fxquant.runtime.layers.plain import Plain
from fxquant.runtime.layers.weighted import check_float32, check_real
from fxquant.runtime.value import Value
from fxquant.runtime.work import attention_multiply_adds, product_multiply_adds
from fxquant.target import active_isa


@computes(ops.int8_matmul)
class Int8Matmul(Plain):
    """uint8 [..., M, K] @ [..., K, N] -> uint8 [..., M, N]."""

    inputs = ("a", "b")
    names: tuple[str, ...] = ("multiplier", "a_zero_point", "b_zero_point", "output")
    kernel = staticmethod(kernels.matmul)
    native = "matmul"
    any_strides = False

    def multiply_adds(self, y: Tensor, *inputs: Tensor) -> int:
        return product_multiply_adds(inputs[0], y)

    def crosses_examples(self, *inputs: Tensor) -> bool:
        return inputs[1].dim() == 2

    def emit(self, emitter: Emitter, y: Value, a: Value, b: Value) -> None:
        operands = (y, _broadcast(emitter.dense_rows(a), y), _broadcast(b, y))
        size = getattr(_kernels, f"{self.native}_scratch_size")(*(x.native for x in operands), active_isa())
        scratch = emitter.thread_scratch(size)
        emitter.call(self.native, (*operands, scratch), *self.derived_arguments, active_isa())


@computes(ops.dynamic_matmul)
class DynamicMatmul(Int8Matmul):
    """float32 [..., M, K] @ [..., K, N] -> float32 [..., M, N], of integers that are made at run time."""

    takes_integers = gives_integers = False
    names = ("scale",)
    kernel = staticmethod(kernels.dynamic_matmul)
    native = "dynamic_matmul"

    def check(self, *inputs: Any) -> None:
        for x in inputs:
            check_real(x)

    def emit(self, emitter: Emitter, y: Value, a: Value, b: Value) -> None:
        check_float32(a, b)
        super().emit(emitter, y, a, b)


def _broadcast(x: Value, y: Value) -> Value:
    view: Value = x.viewed(lambda t: t.expand(*y.shape[:-2], *t.shape[-2:]))
    return view


def masked(mask: Value | None, shape: Sequence[int]) -> tuple[Value | None, bool]:
    """The mask, expanded to `shape`, and whether it is one of booleans."""
    if mask is None:
        return None, False
    return mask.viewed(lambda t: check_mask(t, tuple(shape))), mask.dtype is torch.bool


@computes(ops.int8_attention)
class Int8Attention(Layer):
    """uint8 [..., L, D], [..., S, D], [..., S, E] -> uint8 [..., L, E]; the mask is float32 or bool."""

    inputs = ("query", "key", "value", "mask")
    reals = ("mask",)
    any_strides = False

    def derive(self) -> None:
        names = ("score_multiplier", "query_zero_point", "key_zero_point", "value_multiplier", "value_zero_point")
        numbers = [self.constant(name) for name in names]
        self.derived_arguments = [*numbers, *self.constant("output"), bool(self.constant("causal"))]

    def run(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Any:
        return kernels.attention(query, key, value, mask, *self.derived_arguments)

    def crosses_examples(self, *inputs: Tensor) -> bool:
        return inputs[0].dim() == 2

    def multiply_adds(self, y: Tensor, *inputs: Tensor) -> int:
        return attention_multiply_adds(y, *inputs)

    def emit(
        self, emitter: Emitter, y: Value, query: Value, key: Value, value: Value, mask: Value | None = None
    ) -> None:
        mask, bools = masked(mask, (*y.shape[:-1], key.shape[-2]))
        operands = (y, emitter.dense_rows(query), key, value)
        scratch = emitter.thread_scratch(_kernels.attention_scratch_size(*(x.native for x in operands), active_isa()))
        emitter.call("attention", (*operands, mask, scratch), bools, *self.derived_arguments, active_isa())
