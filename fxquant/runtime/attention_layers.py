"""The layers of transformers: products of activations, softmax, normalizations, embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fxquant import kernels, ops
from fxquant.errors import InputError
from fxquant.kernels import _kernels
from fxquant.kernels.matmul import check_mask
from fxquant.runtime.layer import Layer, computes
from fxquant.runtime.value import Value
from fxquant.target import active_isa

if TYPE_CHECKING:
    from fxquant.runtime.planner import Planner


@computes(ops.int8_matmul)
class Int8Matmul(Layer):
    """uint8 [..., M, K] @ [..., K, N] -> uint8 [..., M, N]."""

    inputs = ("a", "b")
    any_strides = False

    def derive(self) -> None:
        names = ("multiplier", "a_zero_point", "b_zero_point")
        self.derived_arguments = [*(self.constant(name) for name in names), *self.constant("output")]

    def run(self, a: Tensor, b: Tensor) -> Any:
        return kernels.matmul(a, b, *self.derived_arguments)

    def emit(self, planner: Planner, y: Value, a: Value, b: Value) -> None:
        operands = (y, _broadcast(planner.dense_rows(a), y), _broadcast(b, y))
        scratch = planner.thread_scratch(_kernels.matmul_scratch_size(*(x.native for x in operands), active_isa()))
        planner.call("matmul", (*operands, scratch), *self.derived_arguments, active_isa())


def _broadcast(x: Value, y: Value) -> Value:
    view: Value = x.viewed(lambda t: t.expand(*y.shape[:-2], *t.shape[-2:]))
    return view


def _masked(mask: Value | None, shape: Sequence[int]) -> tuple[Value | None, bool]:
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

    def macs(self, shape: Sequence[int]) -> int:
        """As if there were as many keys as queries, of the width of the values."""
        return int(2 * torch.Size(shape).numel() * shape[-2])

    def emit(
        self, planner: Planner, y: Value, query: Value, key: Value, value: Value, mask: Value | None = None
    ) -> None:
        mask, bools = _masked(mask, (*y.shape[:-1], key.shape[-2]))
        operands = (y, planner.dense_rows(query), key, value)
        scratch = planner.thread_scratch(_kernels.attention_scratch_size(*(x.native for x in operands), active_isa()))
        planner.call("attention", (*operands, mask, scratch), bools, *self.derived_arguments, active_isa())


def _last(x: Value, dim: int) -> Value:
    view: Value = x.viewed(lambda t: t.movedim(dim, -1))
    return view


class _Softmax(Layer):
    names = ("x_scale", "x_zero_point", "multiplier")

    def derive(self) -> None:
        self.derived_arguments = [*(self.constant(name) for name in self.names), *self.constant("output")]


@computes(ops.int8_softmax)
class Int8Softmax(_Softmax):
    """uint8 of any shape -> uint8; the mask is float32 or bool."""

    inputs = ("x", "mask")
    reals = ("mask",)

    def run(self, x: Tensor, mask: Tensor | None = None) -> Any:
        return kernels.softmax(x, mask, self.constant("dim"), *self.derived_arguments)

    def emit(self, planner: Planner, y: Value, x: Value, mask: Value | None = None) -> None:
        dim, (mask, bools) = self.constant("dim"), _masked(mask, x.shape)
        scratch = planner.thread_scratch(_kernels.softmax_scratch_size(x.shape[dim]))
        operands = (*(t and _last(t, dim) for t in (y, x, mask)), scratch)
        planner.call("softmax", operands, bools, *self.derived_arguments, active_isa())


@computes(ops.int8_log_softmax)
class Int8LogSoftmax(_Softmax):
    """uint8 of any shape -> uint8."""

    def run(self, x: Tensor) -> Any:
        return kernels.log_softmax(x, self.constant("dim"), *self.derived_arguments)

    def emit(self, planner: Planner, y: Value, x: Value) -> None:
        dim = self.constant("dim")
        scratch = planner.thread_scratch(_kernels.softmax_scratch_size(x.shape[dim]))
        planner.call("log_softmax", (_last(y, dim), _last(x, dim), scratch), *self.derived_arguments, active_isa())


@computes(ops.int8_layer_norm)
class Int8LayerNorm(Layer):
    """uint8 [..., *normalized_shape] -> uint8."""

    any_strides = False
    overwrites = (0,)

    def derive(self) -> None:
        self.derived_weight = self.constant("weight").contiguous()
        self.derived_bias = self._bias()
        self.derived_arguments = [self.constant("eps"), self.constant("x_zero_point") or 0, *self.constant("output")]

    def _bias(self) -> Tensor | None:
        bias: Tensor = self.constant("bias")
        return bias.contiguous()

    def run(self, x: Tensor) -> Any:
        return kernels.layer_norm(x, self.derived_weight, self.derived_bias, *self.derived_arguments)

    def emit(self, planner: Planner, y: Value, x: Value) -> None:
        dims = self.derived_weight.dim()
        operands = (planner.rows(y, dims), planner.rows(x, dims))
        parameters = [0 if t is None else planner.constant(t) for t in (self.derived_weight, self.derived_bias)]
        planner.call("layer_norm", operands, *parameters, *self.derived_arguments, active_isa())


@computes(ops.int8_rms_norm)
class Int8RmsNorm(Int8LayerNorm):
    """uint8 [..., *normalized_shape] -> uint8."""

    def _bias(self) -> None:
        return None


@computes(ops.int8_group_norm)
class Int8GroupNorm(Layer):
    """uint8 [N, C, ...] -> uint8, channels last."""

    any_strides = False

    def derive(self) -> None:
        self.derived_tensors = [self.constant(name).contiguous() for name in ("weight", "bias")]
        self.derived_arguments = [self.constant("eps"), *self.constant("output")]

    def run(self, x: Tensor) -> Any:
        return kernels.group_norm(x, self.constant("num_groups"), *self.derived_tensors, *self.derived_arguments)

    def emit(self, planner: Planner, y: Value, x: Value) -> None:
        scratch = planner.thread_scratch(_kernels.group_norm_scratch_size(x.shape[1]))
        operands = (_last(y, 1), _last(planner.channels_last(x), 1), scratch)
        parameters = [planner.constant(t) for t in self.derived_tensors]
        constants = (self.constant("num_groups"), *parameters, *self.derived_arguments)
        planner.call("group_norm", operands, *constants, active_isa())


@computes(ops.int8_embedding)
class Int8Embedding(Layer):
    """Integer indices [...] -> uint8 [..., E]. It runs in torch, which checks the indices."""

    inputs = ("indices",)
    reals = ("indices",)
    plannable = False

    def derive(self) -> None:
        self.derived_weight = self.constant("weight")

    def run(self, indices: Tensor) -> Any:
        if indices.is_floating_point() or indices.dtype is torch.bool:
            raise InputError(f"an embedding takes integer indices, not {indices.dtype}")
        return F.embedding(indices, self.derived_weight)
