"""Ops of floats that have kernels, so that a native program need not end where dynamic layers are joined by them.

Each means what the op of the same name means; its kernel agrees within 1e-5 (kernels/floats/floats.h has the formulas).
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from fxquant.ops.attention import attention
from fxquant.ops.op import op


@op(activations=("a", "b"))
def float_add(a: Tensor, b: Tensor) -> Tensor:
    """a + b of float32, broadcast."""
    return a + b


@op(activations=("a", "b"))
def float_mul(a: Tensor, b: Tensor) -> Tensor:
    """a * b of float32, broadcast."""
    return a * b


@op(activations=(), at_run_time=("indices",))
def float_embedding(indices: Tensor, vectors: Tensor) -> Tensor:
    """indices int [...], vectors float32 [V, E] -> [..., E]."""
    return F.embedding(indices, vectors)


@op()
def float_gelu(x: Tensor) -> Tensor:
    """x * Phi(x) of float32."""
    return F.gelu(x)


@op()
def float_gelu_tanh(x: Tensor) -> Tensor:
    """x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) of float32."""
    return F.gelu(x, approximate="tanh")


@op()
def float_silu(x: Tensor) -> Tensor:
    """x * sigmoid(x) of float32."""
    return F.silu(x)


# What a dynamic layer can compute of its outputs, by name.
ACTIVATIONS = {"gelu": float_gelu, "gelu_tanh": float_gelu_tanh, "silu": float_silu}


@op()
def float_layer_norm(x: Tensor, gain: Tensor, shift: Tensor, eps: float) -> Tensor:
    """x float32 [..., *gain.shape], normalized over the shape of `gain` and `shift`."""
    return F.layer_norm(x, gain.shape, gain, shift, eps)


@op()
def float_rms_norm(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    """x float32 [..., *gain.shape], divided by the root of its mean square over the shape of `gain`, and times it."""
    return F.rms_norm(x, gain.shape, gain, eps)


@op(activations=("query", "key", "value"), at_run_time=("mask",))
def float_attention(
    query: Tensor, key: Tensor, value: Tensor, causal: bool, scale: float, mask: Tensor | None = None
) -> Tensor:
    """float32 [..., L, D], [..., S, D] and [..., S, E] -> [..., L, E]; the mask is float32 or bool."""
    return attention(query, key, value, mask, causal, scale)
