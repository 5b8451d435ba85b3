"""Kernels of floats agree with torch within 1e-5, and with each other bit for bit on every ISA and thread count."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fxquant import kernels
from fxquant.errors import InputError
from fxquant.ops.attention import attention


def close(found: Tensor, expected: Tensor) -> None:
    assert found.is_contiguous() or found.transpose(-3, -2).is_contiguous()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("a", "b"), [((3, 40), (3, 40)), ((2, 1, 7), (5, 1)), ((), (3,)), ((0, 4), (4,))])
def test_add(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    x, y = torch.randn(a), torch.randn(b)
    assert torch.equal(kernels.float_add(x, y), x + y)
    assert torch.equal(kernels.float_mul(x, y), x * y)
    assert torch.equal(kernels.float_add(x.mT, x.mT) if x.dim() == 2 else x, 2 * x.mT if x.dim() == 2 else x)


@pytest.mark.parametrize("shape", [(), (1,), (5, 33), (2, 3, 64), (0, 3)])
def test_gelu(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape) * 4
    close(kernels.float_gelu(x), F.gelu(x))
    close(kernels.float_gelu_tanh(x), F.gelu(x, approximate="tanh"))
    close(kernels.float_silu(x), F.silu(x))


def test_silu_of_large_numbers_nan_and_infinity() -> None:
    x = torch.tensor([math.nan, math.inf, -math.inf, 0.0, -90.0, -1e30, 1e30])
    torch.testing.assert_close(kernels.float_silu(x), F.silu(x), rtol=1e-6, atol=1e-25, equal_nan=True)


def test_gelu_tanh_of_large_numbers_nan_and_infinity() -> None:
    x = torch.tensor([math.nan, math.inf, -math.inf, 0.0, -40.0, -1e30, 1e30])
    torch.testing.assert_close(kernels.float_gelu_tanh(x), F.gelu(x, approximate="tanh"), equal_nan=True)


def test_gelu_of_nan_and_infinity() -> None:
    found = kernels.float_gelu(torch.tensor([math.nan, math.inf, -math.inf, 0.0]))
    torch.testing.assert_close(found, torch.tensor([math.nan, math.inf, 0.0, 0.0]), equal_nan=True)


@pytest.mark.parametrize(("leading", "shape"), [((5,), (33,)), ((2, 3), (4, 8)), ((), (384,)), ((0,), (3,))])
def test_layer_norm(leading: tuple[int, ...], shape: tuple[int, ...]) -> None:
    x, weight, bias = torch.randn(*leading, *shape) * 3 + 1, torch.randn(shape), torch.randn(shape)
    close(kernels.float_layer_norm(x, weight, bias, 1e-5), F.layer_norm(x, shape, weight, bias, 1e-5))
    close(kernels.float_rms_norm(x, weight, 1e-5), F.rms_norm(x, shape, weight, 1e-5))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", [None, torch.float32, torch.bool])
@pytest.mark.parametrize(("queries", "keys"), [(9, 33), (1, 1), (33, 9), (64, 64)])
def test_attention(causal: bool, mask: torch.dtype | None, queries: int, keys: int) -> None:
    q, k, v = torch.randn(2, 3, queries, 16), torch.randn(2, 3, keys, 16), torch.randn(2, 3, keys, 5)
    added = None if mask is None else torch.randn(2, 1, queries, keys)
    if added is not None and mask is torch.bool:
        added = added > -0.5
        added[..., 0] = True
    close(kernels.float_attention(q, k, v, added, causal, 0.25), attention(q, k, v, added, causal, 0.25))
    apart = [x.transpose(-1, -2).contiguous().transpose(-1, -2) for x in (q, k, v)]
    close(kernels.float_attention(*apart, added, causal, 0.25), attention(q, k, v, added, causal, 0.25))


def test_a_query_without_keys_is_0() -> None:
    x = torch.randn(2, 4, 8)
    found = kernels.float_attention(x, x, x, torch.zeros(4, 4, dtype=torch.bool), False, 1.0)
    assert torch.equal(found, torch.zeros(2, 4, 8))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: kernels.float_gelu(x.double()),
        lambda x: kernels.float_gelu_tanh(x.half()),
        lambda x: kernels.float_silu(x.int()),
        lambda x: kernels.float_add(x, x.int()),
        lambda x: kernels.float_mul(x, x[:, :3]),
        lambda x: kernels.float_add(x, x[:, :3]),
        lambda x: kernels.float_layer_norm(x, torch.ones(5), torch.ones(5), 0.0),
        lambda x: kernels.float_rms_norm(x, torch.ones(5), 0.0),
        lambda x: kernels.float_attention(x, x[:, :3], x, None, False, 1.0),
        lambda x: kernels.float_attention(x, x, x, torch.ones(3, 3), False, 1.0),
        lambda x: kernels.float_attention(x.half(), x, x, None, False, 1.0),
    ],
)
def test_what_does_not_fit(call: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(InputError):
        call(torch.randn(4, 8))
