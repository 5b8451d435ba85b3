"""What stands between dynamic layers: add, mul, gelu, silu, norms and attention of float32 tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from fxquant.errors import InputError
from fxquant.kernels import _kernels
from fxquant.kernels.library import torch_op, view
from fxquant.kernels.matmul import attended, check_mask, dense_rows, scratch
from fxquant.target import active_isa


def _check(name: str, *tensors: Tensor) -> None:
    for x in tensors:
        if x.dtype is not torch.float32:
            raise InputError(f"{name} takes float32 tensors, not {x.dtype}")


def _pair(name: str, a: Tensor, b: Tensor) -> Tensor:
    """The empty result of an op of two tensors that broadcast."""
    _check(name, a, b)
    try:
        return a.new_empty(torch.broadcast_shapes(a.shape, b.shape))
    except RuntimeError:
        raise InputError(f"shapes {list(a.shape)} and {list(b.shape)} do not broadcast") from None


def _of_pair(name: str, a: Tensor, b: Tensor) -> Tensor:
    y = _pair(name, a, b)
    if y.numel() > 0:
        views = [view(x) for x in (y, a.expand(y.shape), b.expand(y.shape))]
        getattr(_kernels, f"float_{name}")(torch.get_num_threads(), *views, active_isa())
    return y


@torch_op("float_add(Tensor a, Tensor b) -> Tensor", lambda a, b: _pair("add", a, b))
def float_add(a: Tensor, b: Tensor) -> Tensor:
    """a + b of float32, broadcast; contiguous. Raises InputError for other dtypes or shapes."""
    return _of_pair("add", a, b)


@torch_op("float_mul(Tensor a, Tensor b) -> Tensor", lambda a, b: _pair("mul", a, b))
def float_mul(a: Tensor, b: Tensor) -> Tensor:
    """a * b of float32, broadcast; contiguous. Raises InputError for other dtypes or shapes."""
    return _of_pair("mul", a, b)


def _like(name: str, x: Tensor) -> Tensor:
    """An empty contiguous tensor of the shape of `x`."""
    _check(name, x)
    return x.new_empty(x.shape)


def _matrix(x: Tensor, length: int) -> Tensor:
    return x.contiguous().reshape(-1, length)


def _of_each(name: str, x: Tensor) -> Tensor:
    y = _like(name, x)
    if y.numel() > 0:
        rows = [view(_matrix(each, x.shape[-1] if x.dim() else 1)) for each in (y, x)]
        getattr(_kernels, f"float_{name}")(torch.get_num_threads(), *rows, active_isa())
    return y


@torch_op("float_gelu(Tensor x) -> Tensor", lambda x: _like("gelu", x))
def float_gelu(x: Tensor) -> Tensor:
    """x * Phi(x) within 9e-7 of float32 `x` of any shape; contiguous. Raises InputError for another dtype."""
    return _of_each("gelu", x)


@torch_op("float_gelu_tanh(Tensor x) -> Tensor", lambda x: _like("gelu_tanh", x))
def float_gelu_tanh(x: Tensor) -> Tensor:
    """x / 2 * (1 + tanh(u)), u = sqrt(2 / pi) * (x + 0.044715 * x^3), off by (3 + 4 * |u|) * 1e-7 of itself.

    Of float32 `x` of any shape. Raises as `float_gelu`.
    """
    return _of_each("gelu_tanh", x)


@torch_op("float_silu(Tensor x) -> Tensor", lambda x: _like("silu", x))
def float_silu(x: Tensor) -> Tensor:
    """x * sigmoid(x) of float32 `x` of any shape, off by (3 + |x|) * 1e-7 of itself. Raises as `float_gelu`."""
    return _of_each("silu", x)


def _normalized(name: str, x: Tensor, weight: Tensor, *bias: Tensor) -> Tensor:
    _check(name, x, weight, *bias)
    dims = weight.dim()
    fits = all(each.shape == weight.shape for each in bias)
    if not fits or x.dim() < dims or x.shape[x.dim() - dims :] != weight.shape:
        raise InputError(f"{name} over {list(weight.shape)} takes a tensor that ends so, not {list(x.shape)}")
    return x.new_empty(x.shape)


def _run_norm(kernel: str, y: Tensor, x: Tensor, weight: Tensor, bias: int, eps: float) -> None:
    """Of a `bias` at that address, into `y`."""
    if y.numel() > 0:
        rows = [view(_matrix(each, weight.numel())) for each in (y, x)]
        parameters = (weight.data_ptr(), bias, eps)
        getattr(_kernels, kernel)(torch.get_num_threads(), *rows, *parameters, active_isa())


@torch_op(
    "float_layer_norm(Tensor x, Tensor weight, Tensor bias, float eps) -> Tensor",
    lambda x, weight, bias, _: _normalized("layer_norm", x, weight, bias),
)
def float_layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """F.layer_norm of float32 `x` over weight.shape; weight and bias are contiguous, and so is the result.

    Raises InputError for other dtypes or shapes.
    """
    y = _normalized("layer_norm", x, weight, bias)
    _run_norm("float_layer_norm", y, x, weight, bias.data_ptr(), eps)
    return y


def _by_squares(x: Tensor, weight: Tensor) -> Tensor:
    return _normalized("rms_norm", x, weight)


@torch_op("float_rms_norm(Tensor x, Tensor weight, float eps) -> Tensor", lambda x, weight, _: _by_squares(x, weight))
def float_rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """F.rms_norm of float32 `x` over weight.shape; weight is contiguous, and so is the result.

    Raises InputError for other dtypes or shapes.
    """
    y = _by_squares(x, weight)
    _run_norm("float_rms_norm", y, x, weight, 0, eps)
    return y


@torch_op(
    "float_attention(Tensor query, Tensor key, Tensor value, Tensor? mask, bool causal, float scale) -> Tensor",
    lambda query, key, value, *_: attended(query, key, value, torch.float32),
)
def float_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool, scale: float
) -> Tensor:
    """softmax(scale * query @ key^T + mask) @ value of float32 [..., L, D], [..., S, D] and [..., S, E].

    The mask is float32 or bool; a row without any key is 0. Raises InputError for other dtypes or shapes.
    """
    return run_attention("float_attention", query, key, value, mask, causal, scale)


def run_attention(
    kernel: str, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool, scale: float
) -> Tensor:
    """The result of an attention of floats by the kernel of that name. Raises InputError for what does not fit."""
    y = attended(query, key, value, torch.float32)
    mask = None if mask is None else check_mask(mask, (*y.shape[:-1], key.shape[-2]))
    if y.numel() == 0:
        return y
    query = dense_rows(query)
    views = (view(y), view(query), view(key), view(value))
    isa = active_isa()
    memory = scratch(getattr(_kernels, f"{kernel}_scratch_size")(*views, isa))
    settings = (mask is not None and mask.dtype is torch.bool, causal, scale, isa)
    getattr(_kernels, kernel)(torch.get_num_threads(), *views, view(mask), view(memory), *settings)
    return y
